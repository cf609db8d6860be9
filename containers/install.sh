#!/bin/sh
# Installs zoo into a virtual environment of its own: the one install step of the images, which also runs without them.
#
#     containers/install.sh DIR EXTRAS [PIP OPTION...]
#
# DIR is the environment to make, EXTRAS are those of setup.cfg, with commas. Run from the root of the sources.
set -eu
[ $# -ge 2 ] || { echo "usage: containers/install.sh DIR EXTRAS [PIP OPTION...]" >&2; exit 2; }
home=$1 extras=$2
shift 2
python3 -m venv "$home"
"$home/bin/pip" install --no-cache-dir --disable-pip-version-check --quiet "$@" ".[$extras]"
