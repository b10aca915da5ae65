"""Time training every network of the collection, side by side with its ancestors' style and with PyTorch.

    python benchmarks/training.py --torch-python /tmp/torchenv/bin/python
    python benchmarks/training.py --networks LeNet,ResNet-20 --rounds 1
    python benchmarks/training.py --precisions       # ours in float32 and in mixed_bfloat16 instead
    python benchmarks/training.py --backends         # ours on TensorFlow, JAX and PyTorch instead
    python benchmarks/training.py --before FOLDER    # also by the scripts of an older checkout (git worktree add)

Three ways, at the batch size of the network's script: ours, the script's own `train` as a user starts it; the same
network as the ancestors trained it (ImageDataGenerator, a convolution for each group, float32, Keras' fit without
XLA); the same network in PyTorch (eager, channels last, float32); and with --before a fourth, the older script's own
`train`. Each measurement is a process of its own, which trains on scikit-learn's digits, repeated to CIFAR-10's 50,000
images of 32x32; the ways take turns, and the median of the rounds counts. Images per second are those of whole steps,
augmentation included; memory is the peak that was resident. PyTorch runs in the interpreter --torch-python names (by
default this one), with --backends our script too, for which it needs keras and the rest; where it lacks torch, that
column stays empty. Prints a Markdown table, and progress on stderr.
Linux.

The machine should have nothing else to do, and the load average before is printed: PyTorch's threads wait for each
other in a loop, which beside other busy processes makes it several times slower (less so with OMP_WAIT_POLICY=passive).
"""

import datetime
import json
import os
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # where the packages stand

from ensemble.common.command import new_parser, refuse, run_command
from ensemble.common.records import describe_computer

HERE = Path(__file__).resolve().parent
NETWORKS = {
    "LeNet": "1.LeNet/lenet.py",
    "NIN": "2.NIN/nin.py",
    "VGG-19": "3.VGG/vgg.py",
    "ResNet-20": "4.ResNet/resnet.py",
    "ResNet-110": "4.ResNet/resnet.py --depth 110",
    "WRN-16-4": "5.WideResNet/wide_resnet.py --depth 16 --width 4",
    "WRN-28-10": "5.WideResNet/wide_resnet.py",
    "ResNeXt-29-8x16d": "6.ResNeXt/resnext.py --group-width 16",
    "ResNeXt-29-8x64d": "6.ResNeXt/resnext.py",
    "DenseNet-40-12": "7.DenseNet/densenet.py --depth 40 --bottleneck no --compression 1",
    "DenseNet-BC-100-12": "7.DenseNet/densenet.py",
    "SE-ResNeXt-29-4x64d": "8.SENet/senet.py",
    "AlexNet": "9.AlexNet/alexnet.py",
    "Inception-v1": "10.Inception/inception.py",
}
WAYS = ("ours", "ancestor", "pytorch")
PRECISIONS = ("mixed_bfloat16", "float32")  # of ours
BACKENDS = ("tensorflow", "jax", "torch")  # of ours


def write_images(path):
    """Write the digits as CIFAR-10's 50,000 training and 10,000 test images, uint8 (n, 32, 32, 3), to a .npz file."""
    x, y = load_digits(return_X_y=True)
    x = np.kron(x.reshape(-1, 8, 8, 1) * 255 / 16, np.ones((1, 4, 4, 3))).round().astype(np.uint8)
    train, test = (np.arange(count) % len(x) for count in (50_000, 10_000))
    np.savez(path, x_train=x[train], y_train=y[train], x_test=x[test], y_test=y[test])


def measure(command, backend="tensorflow"):
    """Run a measurement; return its result, or None after a line on stderr if it failed."""
    environment = {**os.environ, "KERAS_BACKEND": backend}
    done = subprocess.run([str(part) for part in command], env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [""])[-1]
        print(f"    failed with exit status {done.returncode}: {last}", file=sys.stderr)
        return None
    return json.loads(done.stdout.splitlines()[-1])


def compare(network, ways, data, arguments):
    """Return {way: {"images_per_second", "memory", ...}} for one network, each the median of the rounds."""
    results = {way: [] for way in ways}
    for number in range(arguments.rounds):
        turn = number % len(ways)
        for way in ways[turn:] + ways[:turn]:
            if way == "pytorch":
                recipe = results[ways[0]][0]["recipe"]
                program = [arguments.torch_python, HERE / "train_in_pytorch.py", network, data, arguments.seconds]
                result = measure([*program, *recipe])
            else:
                script, *settings = NETWORKS[network].split()
                script = Path(arguments.before).resolve() / script if way == "before" else script
                python = arguments.torch_python if way == "torch" else sys.executable
                program = [python, HERE / "train_in_keras.py", way, data, arguments.seconds]
                result = measure([*program, script, *settings], way if way in BACKENDS else "tensorflow")
            if not result and way == ways[0]:
                refuse(f"{network} could not be trained by {NETWORKS[network]}; the line above says why")
            if result:
                speed, memory = result["images_per_second"], result["memory"]
                progress = f"{network}, round {number + 1}, {way}: {speed:.1f} images/s, {memory:.1f} GiB"
                print(progress, file=sys.stderr, flush=True)
                results[way].append(result)
    parameters = {way: result[0]["parameters"] for way, result in results.items() if result}
    if len(set(parameters.values())) > 1:
        refuse(f"{network} is not the same network in all ways: trainable parameters {parameters}")
    return {
        way: rounds[0]
        | {name: float(np.median([one[name] for one in rounds])) for name in ("images_per_second", "memory")}
        for way, rounds in results.items()
        if rounds
    }


def table_row(network, results, ways):
    """Return a row of the table, and the ratios of the first way's speed to the others'."""
    speeds = [results[way]["images_per_second"] if way in results else np.nan for way in ways]
    memories = [results[way]["memory"] if way in results else np.nan for way in ways]
    ratios = speeds[0] / np.array(speeds[1:])
    cells = [network, str(results[ways[0]]["recipe"][0]), results[ways[0]]["precision"]]
    cells += [f"{speed:,.{0 if speed >= 99.5 else 1}f}" for speed in speeds]
    cells += [f"{ratio:.2f}" for ratio in ratios] + [f"{memory:.1f}" for memory in memories]
    return "| " + " | ".join(cells).replace("nan", "—") + " |", ratios


def has_torch(python):
    """Return whether the interpreter has torch; say so on stderr if not."""
    try:
        found = subprocess.run([python, "-c", "import torch"], capture_output=True, check=False).returncode == 0
    except OSError as error:
        refuse(f"--torch-python {python} cannot be run: {error.strerror}")
    if not found:
        print(f"{python} has no torch: PyTorch's column stays empty (see --torch-python)", file=sys.stderr)
    return found


def main():
    parser = new_parser(__doc__)
    parser.add_argument("--networks", metavar="A,B", help=f"only these of {', '.join(NETWORKS)}")
    parser.add_argument("--rounds", type=int, default=3, help="measurements of each way (3)")
    parser.add_argument("--seconds", type=float, default=15, help="timed in a measurement, two steps at least (15)")
    parser.add_argument("--torch-python", metavar="PATH", default=sys.executable, help="an interpreter with torch")
    parser.add_argument("--precisions", action="store_true", help="compare ours in float32 and in mixed_bfloat16")
    parser.add_argument("--backends", action="store_true", help="compare ours on TensorFlow, JAX and PyTorch")
    parser.add_argument("--before", metavar="FOLDER", help="also measure the scripts of this older checkout")
    arguments = parser.parse_args()
    networks = arguments.networks.split(",") if arguments.networks else list(NETWORKS)
    if unknown := set(networks) - set(NETWORKS):
        refuse(f"--networks {sorted(unknown)[0]}: there are {', '.join(NETWORKS)}")
    if arguments.rounds < 1 or not 0 < arguments.seconds < 3600:
        refuse("--rounds is at least 1, and --seconds between 0 and 3600")
    if arguments.before and not (Path(arguments.before) / NETWORKS["LeNet"]).exists():
        refuse(f"--before {arguments.before}: there is no {NETWORKS['LeNet']}")
    if arguments.precisions and arguments.backends:
        refuse("give --precisions or --backends")
    ways = PRECISIONS if arguments.precisions else BACKENDS if arguments.backends else WAYS
    ways += ("before",) if arguments.before else ()
    measured = [way for way in ways if way not in ("pytorch", "torch") or has_torch(arguments.torch_python)]

    load = f"load average before: {os.getloadavg()[0]:.1f}"
    today = datetime.datetime.now(datetime.UTC).date()
    print(f"{describe_computer()}; {load}; {today}; `{shlex.join(['python', *sys.argv])}`\n")
    others = [f"{ways[0]} / {way}" for way in ways[1:]]
    titles = ["network", "batch", "precision", *(f"{way}, images/s" for way in ways), *others]
    titles += [f"{way}, GiB" for way in ways]
    print(f"| {' | '.join(titles)} |\n|---|---:|---|{'---:|' * (len(titles) - 3)}", flush=True)
    ratios, versions = [], {}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "images.npz"
        write_images(data)
        for network in networks:
            results = compare(network, measured, data, arguments)
            row, own_ratios = table_row(network, results, ways)
            print(row, flush=True)
            ratios.append(own_ratios)
            for result in results.values():
                versions |= result["versions"]
    means = np.exp(np.mean(np.log(ratios), axis=0))  # of a way that failed once: none
    empty = "| " * len(ways)
    print(f"| geometric mean | | {empty}| {' | '.join(f'{mean:.2f}' for mean in means)} {empty}|".replace("nan", "—"))
    print(f"\n{', '.join(f'{name} {version}' for name, version in versions.items())}")


if __name__ == "__main__":
    run_command(main)
