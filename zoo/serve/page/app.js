// The page of `zoo serve`: sends one image to this server and shows each run's predictions. Nothing is kept, no other host is contacted.

const TRIES = 6; // of a request that the server is too busy for
const $ = (id) => document.getElementById(id);
const state = { served: null, file: null, response: null, stop: new AbortController(), maps: new Map() };

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
const topOf = (predictions) => {
  const values = predictions.flatMap((each) => each.labels.flatMap((label) => [label.probability, label.threshold ?? 0]));
  return [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8].find((top) => Math.max(...values) <= top) ?? 1;
};
const upper = (text) => text.charAt(0).toUpperCase() + text.slice(1);

function announce(text, busy = false) {
  $("status").textContent = text;
  $("status").classList.toggle("busy", busy);
}

function showError(text) {
  announce("");
  $("problem").replaceChildren(element("p", { class: "alarm" }, text));
}

class RequestError extends Error {}

async function request(path, options = {}, waiting = () => {}) {
  for (let tries = 1; ; tries += 1) {
    let response;
    try {
      response = await fetch(path, { ...options, cache: "no-store", referrerPolicy: "no-referrer" });
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new RequestError("The server cannot be reached. Is zoo serve still running?");
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
      detail = `the server responded with status ${response.status}.`;
    }
    throw new RequestError(upper(detail));
  }
}

function send(path, image, signal, waiting) {
  const headers = { "Content-Type": "application/octet-stream" };
  return request(path, { method: "POST", body: image, headers, signal }, waiting);
}

async function read(image) {
  state.stop.abort();
  state.stop = new AbortController();
  const { signal } = state.stop;
  forget();
  $("problem").replaceChildren();
  $("results").hidden = true;
  if (image.size === 0) return showError("The image cannot be used: zero bytes.");
  if (state.served && image.size > state.served.max_bytes) {
    return showError(`The file is too large: ${megabytes(image.size)}, and the limit is ${megabytes(state.served.max_bytes)}.`);
  }
  announce("Reading the image…", true);
  try {
    const waiting = (seconds) => announce(`The server is busy. Trying again in ${seconds} s…`, true);
    const response = await (await send("/api/images?picture=true", image, signal, waiting)).json();
    state.file = image;
    state.response = response;
    show();
  } catch (error) {
    if (error.name !== "AbortError") showError(error instanceof RequestError ? error.message : "The page had an error: load it again.");
  }
}

function forget() {
  for (const { address } of state.maps.values()) URL.revokeObjectURL(address);
  state.maps.clear();
  state.file = state.response = null;
}

function show() {
  const { response } = state;
  const { predictions } = response;
  const image = state.file;
  const size = `${response.width.toLocaleString("en")} × ${response.height.toLocaleString("en")} pixels`;
  $("image-facts").textContent = [image.name, size, response.note].filter(Boolean).join(" · ");
  $("drop").classList.add("slim");
  $("choose-title").textContent = "Read another image";
  $("runs").classList.toggle("one", predictions.length === 1);
  const several = predictions.length > 1;
  $("results-title").textContent = several ? "Predictions of the models" : "Predictions";
  $("models").hidden = true;
  $("legend").hidden = predictions.every((each) => each.labels.every((label) => label.threshold === null));
  const top = topOf(predictions); // one scale for all bars, so that they can be compared
  $("runs").replaceChildren(...predictions.map((each, place) => article(each, place, top)));
  offerLabels();
  $("results").hidden = false;
  announce(summary());
  showMaps();
}

function flag(prediction) {
  return prediction.ood?.flagged ? " The image is unlike those the model was validated on." : "";
}

function summary() {
  const { predictions } = state.response;
  if (predictions.length === 1) return upper(decision(predictions[0], true));
  return predictions.map((each) => `${each.run}: ${decision(each, false)}`).join("\n");
}

function decision(prediction, named) {
  if (prediction.reason) return `no prediction, ${prediction.reason}.`;
  const found = prediction.labels.filter((label) => label.positive).map((label) => plain(label.label));
  if (prediction.labels.every((label) => label.threshold === null)) return `most probable is ${found.join(", ")}.${flag(prediction)}`;
  const count = `${found.length || "none"} of ${prediction.labels.length} label${prediction.labels.length === 1 ? "" : "s"}`;
  return `positive for ${count}${named && found.length ? `: ${found.join(", ")}` : ""}.${flag(prediction)}`;
}

function article(prediction, place, top) {
  const info = state.served.runs.find((each) => each.run === prediction.run);
  const id = `run-${place}`;
  const head = element("header", {}, element("h3", { id }, prediction.run), element("p", { class: "quiet" }, `${about(info)} · `, card(info)));
  const made = element("article", { class: "run", "aria-labelledby": id, "data-run": prediction.run }, head, ood(prediction, info));
  if (prediction.reason) {
    made.append(element("p", { class: "alarm" }, `No prediction from this model: ${prediction.reason}.`));
    return made;
  }
  if (prediction.note) made.append(element("p", { class: "quiet" }, `${upper(prediction.note)}.`));
  made.append(figure(prediction), table(prediction, top));
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

function ood(prediction, info) {
  if (prediction.reason) return "";
  if (!info.ood_detector) return element("p", { class: "ood quiet" }, "This run has no out-of-distribution detector: an image of another kind would not be noticed.");
  if (!prediction.ood?.flagged) return element("p", { class: "ood quiet" }, "Not out of distribution: the image resembles those the model was validated on.");
  const reason = prediction.ood.reason ? ` ${upper(prediction.ood.reason.replace(/\.$/, ""))}.` : "";
  return element("p", { class: "ood alarm" }, element("strong", {}, "Out of distribution: unlike the images this model was validated on."), `${reason} Its predictions may mean nothing.`);
}

function figure(prediction) {
  const image = element("img", { class: "image", src: state.response.picture, alt: "The image as it was read", width: state.response.width, height: state.response.height });
  const heat = element("img", { class: "heat", alt: "" });
  heat.hidden = true;
  const frame = element("div", { class: "frame" }, image, heat);
  return element("figure", {}, element("div", { class: "stack" }, frame), element("figcaption", { "data-run": prediction.run }));
}

function table(prediction, top) {
  const exclusive = prediction.labels.every((label) => label.threshold === null);
  const axis = element("span", { class: "axis", "aria-hidden": "true" }, element("span", {}, "0"), element("span", {}, number(top).replace(/0+$/, "").replace(/\.$/, "")));
  const titles = ["Proba\u00adbility", ...(exclusive ? [] : ["Operating point"]), "Decision"];
  const head = element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "Label", axis), ...titles.map((title) => element("th", { scope: "col" }, title))));
  const rows = prediction.labels.map((label) => row(label, exclusive, top));
  const caption = element("caption", { class: "hidden" }, `Predictions of ${prediction.run} for the image`);
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
  const labels = [...new Set(state.response.predictions.flatMap((each) => each.labels.map((label) => label.label)))];
  const all = state.response.predictions.flatMap((each) => each.labels);
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
  const prediction = state.response.predictions.find((each) => each.run === run);
  heat.hidden = true;
  if (!label) return void (caption.textContent = "The image alone.");
  if (!prediction.labels.some((each) => each.label === label)) return void (caption.textContent = `This model has no label ${plain(label)}.`);
  caption.textContent = `Computing the heat map of ${plain(label)}…`;
  try {
    const map = await fetchMap(run, label);
    if ($("label").value !== label || !heat.isConnected) return;
    heat.src = map.address;
    heat.alt = `Heat map of ${plain(label)} by ${run}`;
    heat.hidden = map.empty;
    caption.textContent = map.empty
      ? `Grad-CAM finds no place that raises the probability of ${plain(label)}: the map is zero everywhere.`
      : `Grad-CAM: the brighter, the more a place raises the probability of ${plain(label)}. It does not outline a finding.`;
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
  if (files.length > 1) return showError(`One image at a time: ${files.length} files were dropped.`);
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
    state.served = await (await request("/api/runs")).json();
  } catch (error) {
    return showError(error.message);
  }
  const names = state.served.runs.map((each) => each.run);
  listModels();
  $("served").textContent = names.length === 1 ? `Served: ${names[0]}` : `Served side by side: ${names.join(", ")}`;
  $("research").textContent = state.served.research_only;
  $("version").textContent = `cxr-zoo ${state.served.version}`;
}

begin();
