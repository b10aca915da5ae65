#!/usr/bin/env bash
# Measure the training scripts on a GPU, by JAX and beside PyTorch, in 9 minutes; gpu.md says what and how.
#
#     bash benchmarks/gpu.sh [--rehearse] [OUT]
#
# OUT (gpu_results) gets log.txt, as it is written, and after every part gpu_results.tar.gz, which holds the log, the
# measurements and the runs. --rehearse: the same on any machine, small, on scikit-learn's digits.
set -u
limit=530 times=1 # seconds, all parts together; what every limit is multiplied by

refuse() {
    echo "gpu.sh: $*" >&2
    exit 2
}

root=$(cd "$(dirname "$0")/.." && pwd)
command="bash benchmarks/gpu.sh $*"
rehearse=
if [ "${1:-}" = --rehearse ]; then
    rehearse=yes
    times=4
    shift
fi
out=${1:-gpu_results}
[ $# -le 1 ] && [ "${out:0:1}" != - ] || refuse "give [--rehearse] [OUT]"
[ ! -e "$out/log.txt" ] || refuse "$out has results; give another OUT"
[ -n "$rehearse" ] || [ -f "$root/images.tar.xz" ] || refuse "there is no $root/images.tar.xz; gpu_folder.sh makes the folder"
mkdir -p "$out" || refuse "$out cannot be made"
out=$(cd "$out" && pwd)

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
results=$work/gpu_results
mkdir "$results"
ln -s "$root"/[0-9]*.* "$root/benchmarks" "$work" # so that commands read as they do in the README
cd "$work" || exit 2
export KERAS_BACKEND=jax PYTHONUNBUFFERED=1
export JAX_COMPILATION_CACHE_DIR=$work/compiled # a network is compiled once, not by each process again

say() {
    echo "$*" | tee -a "$out/log.txt"
}

# Make gpu_results.tar.gz of what there is by now
pack() {
    cp "$out/log.txt" "$results"
    [ ! -d runs ] || cp -r runs "$results"
    tar -czf "$out/unfinished.tar.gz" -C "$work" gpu_results
    mv "$out/unfinished.tar.gz" "$out/gpu_results.tar.gz"
}

# part NAME SECONDS COMMAND ...: run a command for so long at most, its output in the log
part() {
    local name=$1 seconds=$(($2 * times)) began=$SECONDS status
    shift 2
    say "$name begins, $seconds seconds at most: $*"
    timeout --kill-after 5 "$seconds" "$@" >> "$out/log.txt" 2>&1
    status=$?
    case $status in
        0) say "$name ended after $((SECONDS - began)) seconds" ;;
        124 | 137) say "$name was stopped after $((SECONDS - began)) seconds" ;;
        *) say "$name failed after $((SECONDS - began)) seconds, with exit status $status; the log says why" ;;
    esac
    pack
}

# The wheels of packages that are not here
installed=none
if [ -d "$root/wheels" ]; then
    mapfile -t missing < <(python3 - "$root"/wheels/*.whl << 'END'
import importlib.metadata, pathlib, sys

for wheel in sys.argv[1:]:
    try:
        importlib.metadata.version(pathlib.Path(wheel).name.split("-")[0])
    except importlib.metadata.PackageNotFoundError:
        print(wheel)
END
    )
    if [ ${#missing[@]} -gt 0 ]; then
        python3 -m pip install --quiet --no-index --no-deps --target "$work/site" "${missing[@]}" || refuse "pip failed"
        export PYTHONPATH=$work/site
        installed=$(basename -a "${missing[@]}" | paste -s -d ' ')
    fi
fi

python3 - > facts.txt << 'END' || refuse "not all that the scripts need is here; the lines above say what is missing"
import importlib.metadata, platform

import h5py, jax, keras, matplotlib, pandas, PIL, sklearn

names = ("keras", "jax", "jaxlib", "torch", "numpy")
found = {package.metadata["Name"]: package.version for package in importlib.metadata.distributions()}
versions = [f"{name} {found[name]}" for name in names if name in found]
print("versions:", ", ".join([f"Python {platform.python_version()}", *versions]))
print("devices:", ", ".join(f"{it.device_kind} ({it.platform})" for it in jax.devices()))
END
gpu=$(nvidia-smi --query-gpu=name,memory.total,driver_version,compute_cap --format=csv,noheader 2> /dev/null)
[ -n "$rehearse" ] || ! grep -q '^devices:.*(cpu)' facts.txt || refuse "JAX sees no GPU here; --rehearse needs none"
{
    echo "date: $(date --utc +%Y-%m-%d)"
    echo "command: $command"
    echo "commit: $(cat "$root/commit" 2> /dev/null || git -C "$root" rev-parse HEAD)"
    if [ -n "$gpu" ]; then
        echo "GPU: $(echo $gpu | sed 's/\(.*\), \(.*\), \(.*\), \(.*\)/\1, \2, driver \3, compute capability \4/')"
    else
        echo "GPU: none"
    fi
    echo "CPU: $(sed -n 's/^model name\s*: //p' /proc/cpuinfo | head -n 1), $(nproc) cores"
    cat facts.txt
    echo "installed: $installed"
} > "$results/machine.txt"
tee -a "$out/log.txt" < "$results/machine.txt"

if [ -n "$rehearse" ]; then
    data=digits.npz seconds=0.2
    training=(--data digits --depth 8 --batch-size 32 --epochs 2)
    speed=(LeNet:jax LeNet:eager LeNet:compiled)
    waiting=(LeNet:fixed)
    others=()
    python3 -c 'import sys; sys.path.insert(0, "."); from benchmarks.training import write_images; write_images("digits.npz")' &
else
    data=cifar10.npz seconds=4
    training=(--data $data)
    speed=(ResNet-20:jax ResNet-20:eager WRN-28-10:jax WRN-28-10:eager ResNet-20:compiled WRN-28-10:compiled)
    waiting=(ResNet-20:fixed WRN-28-10:fixed)
    others=(LeNet:jax LeNet:eager LeNet:fixed)
    for network in SE-ResNeXt-29-4x64d DenseNet-BC-100-12 ResNeXt-29-8x64d VGG-19 ResNet-110 NIN; do
        others+=($network:jax $network:eager)
    done
    python3 benchmarks/unpack_images.py "$root/images.tar.xz" $data >> "$out/log.txt" 2>&1 &
fi
images=$!

measure=(python3 benchmarks/gpu_speed.py $data "$results/measurements.jsonl" $seconds)
part "part 1, a resume" 45 python3 benchmarks/check_resume.py "$results/resume.json"
wait $images || say "the images could not be unpacked; the log says why"
part "part 2, training" 240 python3 4.ResNet/resnet.py "${training[@]}" --run resnet20
part "part 3, speed" 120 "${measure[@]}" "${speed[@]}"
part "part 4, waiting" 60 "${measure[@]}" "${waiting[@]}"
left=$((limit - SECONDS / times))
[ $left -lt 10 ] || part "part 5, what is left" $left "${measure[@]}" "${speed[@]}" "${waiting[@]}" "${others[@]}"
python3 benchmarks/gpu_table.py "$results" | tee "$results/table.md"
say "all ended after $SECONDS seconds"
pack
