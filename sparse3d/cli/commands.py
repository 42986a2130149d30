# SPDX-License-Identifier: Apache-2.0
"""The table of commands: what `sparse3d --help` prints, without importing any of them."""

from __future__ import annotations

from typing import NamedTuple


class Command(NamedTuple):
    """`module` below sparse3d.cli has `main(words) -> int`, and imports nothing heavy before it knows the words."""

    module: str
    arguments: str
    help: str


COMMANDS: dict[str, Command] = {
    "train": Command("train", "SCENE", "Train splats from photos, compare with held-out photos, write a run folder."),
    "eval": Command("evaluate", "RUN", "Compare a run with its held-out photos again."),
    "render": Command("render", "RUN|FILE", "Draw a video or pictures along a path of cameras."),
    "view": Command("view", "RUN|FILE", "Show a run or a file of splats in the browser; follows a run that trains."),
    "clean": Command("clean", "IN OUT", "Remove floaters from the splats of a run or a file, judged by photos."),
    "edit": Command("edit", "IN OUT", "Make the edits of a script or project: select, delete, move, recolour, crop."),
    "export": Command(
        "export", "SOURCE OUT", "Write a run or file as a small file that phones open: by size, loss or device."
    ),
    "compress": Command("compress", "IN OUT", "The same from one file of splats to another."),
    "convert": Command("convert", "IN OUT", "Write a file of splats in another format, and say what it cannot keep."),
    "report": Command("report", "RUN", "Write the page of a run again: the scene, pictures, what to photograph next."),
    "info": Command("info", "PATH", "Say what a run, a file of splats or a scene folder holds."),
    "doctor": Command("doctor", "", "Print versions and back ends, and test every kernel on this machine."),
    "bench step": Command("bench.step", "", "Time one training step, stage by stage."),
    "bench train": Command("bench.train", "SCENE", "Time a training run until it reaches a PSNR."),
    "bench depth": Command("bench.depth", "SCENE", "Compare dense depth of few photos with truth and with OpenCV's."),
    "bench quality": Command(
        "bench.quality", "SCENE...", "Measure by a published protocol of few views, over several seeds."
    ),
    "bench compress": Command("bench.compress", "", "Time palettes, codebooks and orders of compression."),
    "data list": Command("data.list", "", "List the known public scenes."),
    "data get": Command("data.get", "NAME|URL", "Fetch a scene, checked against its SHA-256."),
    "replay": Command("replay", "DUMP", "Run the step again that a diverged training run wrote down."),
}


def overview(version: str) -> str:
    """The text of `sparse3d --help`."""
    width = max(len(f"{name} {command.arguments}") for name, command in COMMANDS.items())
    rows = [f"  {f'{name} {command.arguments}':<{width}}  {command.help}" for name, command in COMMANDS.items()]
    return "\n".join(
        [
            f"sparse3d {version}: from a few photos to a Gaussian-splat scene, on any CPU",
            "",
            "usage: sparse3d COMMAND [OPTIONS]",
            "       sparse3d COMMAND --help",
            "",
            "commands:",
            *rows,
            "",
            "options of every command:",
            "  --debug    show the traceback of an unexpected error",
            "  --version  print the version",
            "",
            "exit codes: 0 ok, 1 internal error or diverged training, 2 usage, 3 bad data, 4 missing back end,",
            "            130 interrupted",
            "results go to stdout, everything else to stderr",
        ]
    )


def usage_of_group(group: str) -> str:
    """The commands that begin with `group`, one a line, for `sparse3d bench`."""
    names = [name for name in COMMANDS if name.startswith(group + " ")]
    rows = [f"  sparse3d {name} {COMMANDS[name].arguments}\n      {COMMANDS[name].help}" for name in names]
    return "\n".join([f"usage: sparse3d {group} COMMAND [OPTIONS]", "", *rows])
