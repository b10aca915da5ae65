#!/usr/bin/env bash
# Fill a folder with all that gpu.sh needs on a machine without a network; gpu.md says more.
#
#     bash benchmarks/gpu_folder.sh IMAGES.tar.xz FOLDER
#
# IMAGES.tar.xz: images as unpack_images.py describes them, such as CIFAR-10's; FOLDER: a new one, of at most 64 MiB. The
# wheels are for Python 3.12 on Linux, x86-64; pip fetches them, so this machine needs a network.
set -eu

refuse() {
    echo "gpu_folder.sh: $*" >&2
    exit 2
}

[ $# = 2 ] || refuse "give IMAGES.tar.xz and FOLDER"
images=$1 folder=$2 root=$(cd "$(dirname "$0")/.." && pwd)
[ -f "$images" ] || refuse "there is no file $images"
[ ! -e "$folder" ] || refuse "$folder exists; give another folder, or remove it"

unfinished=$(realpath --canonicalize-missing "$folder.unfinished")
rm -rf "$unfinished"
mkdir -p "$unfinished"
trap 'rm -rf "$unfinished"' EXIT
(cd "$root" && cp --parents [0-9]*.*/*.py benchmarks/*.py benchmarks/*.sh ensemble/*.py ensemble/*/*.py "$unfinished")
cp "$images" "$unfinished/images.tar.xz"
git -C "$root" describe --always --dirty --abbrev=40 --exclude '*' > "$unfinished/commit" 2> /dev/null ||
    echo unknown > "$unfinished/commit"

# Keras and what it needs, then what else a script needs and is not large. NumPy, SciPy, pandas and scikit-learn are not here
packages=(keras==3.15.1 optree namex absl-py rich markdown-it-py mdurl pygments ml-dtypes h5py packaging typing-extensions
    matplotlib contourpy cycler fonttools kiwisolver pyparsing python-dateutil six)
platforms=()
for number in 2_17 2_27 2_28; do
    platforms+=(--platform "manylinux_${number}_x86_64")
done
python3 -m pip download --quiet --no-deps --only-binary=:all: --python-version 3.12 --implementation cp "${platforms[@]}" \
    --platform manylinux2014_x86_64 --dest "$unfinished/wheels" "${packages[@]}" || refuse "pip could not fetch the wheels"

size=$(du --summarize --apparent-size --block-size=1K "$unfinished" | cut -f 1)
[ "$size" -le 65536 ] || refuse "$folder would have $((size / 1024)) MiB, more than 64"
mv "$unfinished" "$folder"
echo "$folder: $((size / 1024)) MiB; on the GPU's machine, in this folder: bash benchmarks/gpu.sh"
