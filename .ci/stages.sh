# What the stages of .ci/run do. Sourced by it: $root is the checkout, $work a folder that is removed at the end.
# shellcheck shell=bash

find_python() { # put a Python that zoo supports on the path as python3
    local each real
    for each in python3 python3.13 python3.12 python3.11; do
        real=$("$each" -c 'import sys; print(sys.executable if (3, 11) <= sys.version_info < (3, 14) else "")' 2>/dev/null) || continue
        [[ -n $real ]] || continue
        mkdir "$work/bin"
        printf '#!/bin/sh\nexec "%s" "$@"\n' "$real" >"$work/bin/python3"
        chmod +x "$work/bin/python3"
        export PATH="$work/bin:$PATH"
        "$real" --version
        return
    done
    echo "Error: zoo needs Python 3.11, 3.12 or 3.13." >&2
    return 1
}

copy_tree() { # what git knows or would add, as it lies on the disk
    mkdir "$work/tree"
    git -C "$root" ls-files -z --cached --others --exclude-standard |
        while IFS= read -r -d '' file; do
            if [[ -e $root/$file || -L $root/$file ]]; then printf '%s\0' "$file"; fi
        done |
        tar -C "$root" --null --files-from=- -cf - | tar -C "$work/tree" -xf -
}

readme_line() { # readme_line N: the Nth command of the first bash block of the README
    awk '/^```bash$/ { inside = 1; next } inside && /^```/ { exit } inside && NF' README.md | sed -n "$1p"
}

readme() { # run the Nth command of the README as a reader would
    local line
    line=$(readme_line "$1")
    [[ -n $line ]] || { echo "Error: the first bash block of README.md has no line $1." >&2; return 1; }
    printf '$ %s\n' "$line"
    bash -euo pipefail -c "$line"
}

plugin() { # the example plugin: installed, seen, tested, trained, removed
    .venv/bin/pip install -q ./examples/zoo-tinycnn
    .venv/bin/zoo list | grep -E '^small-cnn .*zoo-tinycnn 1\.0'
    .venv/bin/pytest -c /dev/null --rootdir examples/zoo-tinycnn examples/zoo-tinycnn/tests
    .venv/bin/zoo train --model small-cnn --loss smooth-bce --augment shift --epochs 1 --limit 200
    .venv/bin/pip uninstall -q -y zoo-tinycnn
    if .venv/bin/zoo list small-cnn; then
        echo "Error: small-cnn is still listed after its plugin was removed." >&2
        return 1
    fi
}

browser() { # the tests of `zoo serve` drive Chromium and skip without it; get it where this may install packages
    if command -v chromium >/dev/null || [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then return; fi
    apt-get -qq update && DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends chromium >/dev/null ||
        echo "No Chromium to be had: the tests that drive a browser will be skipped."
}

images() { # the images' files linted, and their install steps run on what they are given of the sources
    .venv/bin/hadolint containers/Dockerfile .devcontainer/Dockerfile
    mkdir "$work/context"
    sed -n 's/^!//p' .dockerignore | xargs cp -a --parents -t "$work/context"
    cd "$work/context"
    containers/install.sh "$work/cpu" dicom,litert,onnx,serve
    "$work/cpu/bin/zoo" list models
    # several gigabytes of CUDA: what pip would install is settled, but not fetched
    containers/install.sh "$work/gpu" dicom,gpu,onnx,serve --dry-run
    cd "$work/tree"
}

docs() { # the site, where a link to nowhere or a name without a docstring is an error
    NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --quiet --strict
}
