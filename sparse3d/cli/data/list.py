# SPDX-License-Identifier: Apache-2.0
"""`sparse3d data list`."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from sparse3d.cli.parse import parse


@dataclass(frozen=True)
class Args:
    """List the known public scenes: name, size, licence, what it is."""

    json: bool = False
    """One JSON object a scene, one a line."""


def main(words: Sequence[str]) -> int:
    args = parse(Args, words, prog="data list")
    from sparse3d.load.cards import read_cards

    cards = list(read_cards())
    if args.json:
        for card in cards:
            origin = {"repository": card.repository, "commit": card.commit} if card.repository else {"built_in": True}
            print(json.dumps({"name": card.name, "what": card.what, "bytes": card.num_bytes,
                              "licence": card.licence, **origin}))  # fmt: skip
        return 0
    width = max((len(card.name) for card in cards), default=0)
    for card in cards:
        size = "here" if card.folder else f"{card.num_bytes / 1e6:.0f} MB"
        print(f"{card.name:<{width}}  {size:>6}  {card.what}\n{'':<{width + 10}}licence: {card.licence}")
    return 0
