// The page of `zoo serve`: sends one image to this server and shows what each run says. Nothing is kept, no other host is asked.

const TRIES = 6; // of a request that the server is too busy for
const $ = (id) => document.getElementById(id);
const state = { served: null, file: null, answer: null, stop: new AbortController(), maps: new Map() };

function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "class") made.className = value;
    else if (value !== null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child !== null && child !== ""));
  return made;
}

const plain = (label) => label.replaceAll("_", " ");
const number = (value) => (value === null ? "–" : value >= 0.9995 ? "1.000" : value.toFixed(3).replace(/^0/, ""));
const megabytes = (bytes) => `${(bytes / 1e6).toLocaleString("en", { maximumFractionDigits: 1 })} MB`;
const topOf = (answers) => {
  const values = answers.flatMap((each) => each.labels.flatMap((label) => [label.probability, label.threshold ?? 0]));
  return [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8].find((top) => Math.max(...values) <= top) ?? 1;
};
const upper = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function say(text, busy = false) {
  $("status").textContent = text;
  $("status").classList.toggle("busy", busy);
}

function complain(text) {
  say("");
  $("problem").replaceChildren(element("p", { class: "alarm" }, text));
}

class Refused extends Error {}

async function ask(path, options = {}, waiting = () => {}) {
  for (let tries = 1; ; tries += 1) {
    let response;
    try {
      response = await fetch(path, { ...options, cache: "no-store", referrerPolicy: "no-referrer" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Refused("The server cannot be reached. Is zoo serve still running?");
    }
    if (response.ok) return response;
    if (response.status === 503 && tries < TRIES) {
      const seconds = Number(response.headers.get("Retry-After")) || 1;
      waiting(seconds);
      await new Promise((resolve) => setTimeout(resolve, 1000 * (seconds + Math.random())));
      options.signal?.throwIfAborted();
      continue;
    }
    let detail = "";
    try {
      detail = (await response.json()).detail;
    } catch {
      detail = `the server answered ${response.status}.`;
    }
    throw new Refused(upper(detail));
  }
}

function send(path, image, signal, waiting) {
  const headers = { "Content-Type": "application/octet-stream" };
  return ask(path, { method: "POST", body: image, headers, signal }, waiting);
}

async function read(image) {
  state.stop.abort();
  state.stop = new AbortController();
  const { signal } = state.stop;
  forget();
  $("problem").replaceChildren();
  $("results").hidden = true;
  if (image.size === 0) return complain("The image cannot be used: zero bytes.");
  if (state.served && image.size > state.served.max_bytes) {
    return complain(`The file is too large: ${megabytes(image.size)}, and the limit is ${megabytes(state.served.max_bytes)}.`);
  }
  say("Reading the image…", true);
  try {
    const waiting = (seconds) => say(`The server is busy. Trying again in ${seconds} s…`, true);
    const answer = await (await send("/api/images?picture=true", image, signal, waiting)).json();
    state.file = image;
    state.answer = answer;
    show();
  } catch (error) {
    if (error.name !== "AbortError") complain(error instanceof Refused ? error.message : "The page met an error: load it again.");
  }
}

function forget() {
  for (const { address } of state.maps.values()) URL.revokeObjectURL(address);
  state.maps.clear();
  state.file = state.answer = null;
}

function show() {
  const { answer } = state;
  const image = state.file;
  const size = `${answer.width.toLocaleString("en")} × ${answer.height.toLocaleString("en")} pixels`;
  $("image-facts").textContent = [image.name, size, answer.note].filter(Boolean).join(" · ");
  $("drop").classList.add("slim");
  $("choose-title").textContent = "Read another image";
  $("runs").classList.toggle("one", answer.answers.length === 1);
  const several = answer.answers.length > 1;
  $("results-title").textContent = several ? "What the models say" : "What the model says";
  $("models").hidden = true;
  $("legend").hidden = answer.answers.every((each) => each.labels.every((label) => label.threshold === null));
  const top = topOf(answer.answers); // one scale for all bars, so that they can be compared
  $("runs").replaceChildren(...answer.answers.map((each, place) => article(each, place, top)));
  offerLabels();
  $("results").hidden = false;
  say(summary());
  showMaps();
}

function flag(answer) {
  return answer.guard?.flagged ? " The image is unlike those the model knows." : "";
}

function summary() {
  const { answers } = state.answer;
  if (answers.length === 1) return upper(verdict(answers[0], true));
  return answers.map((each) => `${each.run}: ${verdict(each, false)}`).join("\n");
}

function verdict(answer, named) {
  if (answer.reason) return `no answer, ${answer.reason}.`;
  const found = answer.labels.filter((label) => label.positive).map((label) => plain(label.label));
  if (answer.labels.every((label) => label.threshold === null)) return `most probable is ${found.join(", ")}.${flag(answer)}`;
  const count = `${found.length || "none"} of ${answer.labels.length} label${answer.labels.length === 1 ? "" : "s"}`;
  return `positive for ${count}${named && found.length ? `: ${found.join(", ")}` : ""}.${flag(answer)}`;
}

function article(answer, place, top) {
  const info = state.served.runs.find((each) => each.run === answer.run);
  const id = `run-${place}`;
  const head = element("header", {}, element("h3", { id }, answer.run), element("p", { class: "quiet" }, `${about(info)} · `, card(info)));
  const made = element("article", { class: "run", "aria-labelledby": id, "data-run": answer.run }, head, guard(answer, info));
  if (answer.reason) {
    made.append(element("p", { class: "alarm" }, `No answer from this model: ${answer.reason}.`));
    return made;
  }
  made.append(figure(answer), table(answer, top));
  return made;
}

function about(info) {
  return [info.model, info.dataset && `trained on ${info.dataset}`, info.calibrated && "calibrated"].filter(Boolean).join(", ");
}

function card(info) {
  const more = element("span", { class: "hidden" }, ` of ${info.run}, opens in a new tab`);
  return element("a", { href: info.card, target: "_blank", rel: "noopener" }, "Model card", more);
}

function listModels() {
  const items = state.served.runs.map((info) => {
    const labels = info.labels.length > 4 ? `${info.labels.length} labels` : info.labels.map((each) => plain(each.label)).join(", ");
    return element("li", {}, element("strong", {}, info.run), element("span", { class: "quiet" }, `${about(info)}: ${labels} · `), card(info));
  });
  $("model-list").replaceChildren(...items);
  $("models").hidden = false;
}

function guard(answer, info) {
  if (answer.reason) return "";
  if (!info.guard) return element("p", { class: "guard quiet" }, "This run has no guard: an image of another kind would not be noticed.");
  if (!answer.guard?.flagged) return element("p", { class: "guard quiet" }, "The guard finds nothing unusual about this image.");
  const reason = answer.guard.reason ? ` ${upper(answer.guard.reason.replace(/\.$/, ""))}.` : "";
  return element("p", { class: "guard alarm" }, element("strong", {}, "Unlike the images this model knows."), `${reason} What it says below may mean nothing.`);
}

function figure(answer) {
  const image = element("img", { class: "image", src: state.answer.picture, alt: "The image as it was read", width: state.answer.width, height: state.answer.height });
  const heat = element("img", { class: "heat", alt: "" });
  heat.hidden = true;
  const frame = element("div", { class: "frame" }, image, heat);
  return element("figure", {}, element("div", { class: "stack" }, frame), element("figcaption", { "data-run": answer.run }));
}

function table(answer, top) {
  const exclusive = answer.labels.every((label) => label.threshold === null);
  const axis = element("span", { class: "axis", "aria-hidden": "true" }, element("span", {}, "0"), element("span", {}, number(top).replace(/0+$/, "").replace(/\.$/, "")));
  const titles = ["Proba\u00adbility", ...(exclusive ? [] : ["Operating point"]), "Decision"];
  const head = element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Label", axis), ...titles.map((title) => element("th", { scope: "col" }, title))));
  const rows = answer.labels.map((label) => row(label, exclusive, top));
  const caption = element("caption", { class: "hidden" }, `What ${answer.run} says of the image`);
  return element("div", { class: "numbers" }, element("table", {}, caption, head, element("tbody", {}, ...rows)));
}

function row(label, exclusive, top) {
  const fill = element("span", { class: "fill" });
  fill.style.width = `${(100 * label.probability) / top}%`;
  const bar = element("span", { class: "bar", "aria-hidden": "true" }, fill);
  if (!exclusive) {
    const point = element("span", { class: "point" });
    point.style.left = `${Math.min(100, (100 * label.threshold) / top)}%`;
    bar.append(point);
  }
  const decision = exclusive ? (label.positive ? "most probable" : "") : label.positive ? "positive" : "negative";
  const made = element(
    "tr",
    { class: label.positive ? "positive" : "", "data-label": label.label },
    element("th", { scope: "row" }, element("span", { class: "name" }, plain(label.label)), bar),
    element("td", {}, number(label.probability)),
    exclusive ? null : element("td", {}, number(label.threshold)),
    element("td", { class: "decision" }, decision),
  );
  made.addEventListener("click", () => choose(label.label));
  return made;
}

function offerLabels() {
  const labels = [...new Set(state.answer.answers.flatMap((each) => each.labels.map((label) => label.label)))];
  const all = state.answer.answers.flatMap((each) => each.labels);
  const first = all.toSorted((a, b) => b.positive - a.positive || b.probability - a.probability)[0];
  const before = $("label").value;
  const none = element("option", { value: "" }, "no label (image alone)");
  $("label").replaceChildren(none, ...labels.map((label) => element("option", { value: label }, plain(label))));
  $("label").value = state.kept && labels.includes(before) ? before : (first?.label ?? "");
}

function choose(label) {
  if (![...$("label").options].some((option) => option.value === label)) return;
  $("label").value = label;
  state.kept = true;
  showMaps();
}

async function showMaps() {
  const label = $("label").value;
  for (const each of document.querySelectorAll("tr[data-label]")) each.classList.toggle("shown", each.dataset.label === label);
  await Promise.all([...document.querySelectorAll("article.run")].map((made) => showMap(made, label)));
}

async function showMap(made, label) {
  const heat = made.querySelector("img.heat");
  const caption = made.querySelector("figcaption");
  if (!heat) return;
  const { run } = made.dataset;
  const answer = state.answer.answers.find((each) => each.run === run);
  heat.hidden = true;
  if (!label) return void (caption.textContent = "The image alone.");
  if (!answer.labels.some((each) => each.label === label)) return void (caption.textContent = `This model has no label ${plain(label)}.`);
  caption.textContent = `Computing the heat map of ${plain(label)}…`;
  try {
    const map = await fetchMap(run, label);
    if ($("label").value !== label || !heat.isConnected) return;
    heat.src = map.address;
    heat.alt = `Heat map of ${plain(label)} by ${run}`;
    heat.hidden = map.empty;
    caption.textContent = map.empty
      ? `Grad-CAM finds no place that speaks for ${plain(label)}: the map is zero everywhere.`
      : `Grad-CAM: the brighter, the more a place speaks for ${plain(label)}. It is no outline of a finding.`;
  } catch (error) {
    if (error.name !== "AbortError") caption.textContent = `No heat map: ${error.message}`;
  }
}

async function fetchMap(run, label) {
  const key = JSON.stringify([run, label]);
  if (!state.maps.has(key)) {
    const { file, stop } = state;
    const query = new URLSearchParams({ run, label });
    const response = await send(`/api/heat-maps?${query}`, file, stop.signal);
    const picture = await response.blob();
    stop.signal.throwIfAborted();
    const empty = response.headers.get("Heat-Map-Empty") === "true";
    if (!state.maps.has(key)) state.maps.set(key, { address: URL.createObjectURL(picture), empty });
  }
  return state.maps.get(key);
}

function setOpacity() {
  const percent = $("opacity").value;
  $("opacity-value").textContent = `${percent}%`;
  $("opacity").setAttribute("aria-valuetext", `${percent} percent`);
  $("runs").style.setProperty("--heat", String(percent / 100));
}

function take(files) {
  if (!files?.length) return;
  if (files.length > 1) return complain(`One image at a time: ${files.length} files were dropped.`);
  read(files[0]);
}

function listen() {
  $("choose").addEventListener("click", () => $("file").click());
  $("file").addEventListener("change", () => {
    take($("file").files);
    $("file").value = ""; // so that the same file can be chosen again
  });
  $("label").addEventListener("change", () => choose($("label").value));
  $("opacity").addEventListener("input", setOpacity);
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    document.body.classList.add("dragging");
  });
  document.addEventListener("dragleave", (event) => {
    if (!event.relatedTarget) document.body.classList.remove("dragging");
  });
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    document.body.classList.remove("dragging");
    take(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
}

async function begin() {
  listen();
  setOpacity();
  try {
    state.served = await (await ask("/api/runs")).json();
  } catch (error) {
    return complain(error.message);
  }
  const names = state.served.runs.map((each) => each.run);
  listModels();
  $("served").textContent = names.length === 1 ? `Served: ${names[0]}` : `Served side by side: ${names.join(", ")}`;
  $("research").textContent = state.served.research_only;
  $("version").textContent = `cxr-zoo ${state.served.version}`;
}

begin();
