"""A plan as text for the terminal."""

from fractions import Fraction

from sgm_vfi.video.encoding_options import describe_purpose
from sgm_vfi.video.job_paths import free_space, is_folder
from sgm_vfi.video.job_plan import VideoPlan
from sgm_vfi.video.long_gaps import describe_holds
from sgm_vfi.video.options import describe_options
from sgm_vfi.video.segment_writers import COMPARE, EXPLAIN

VIEWS = {COMPARE: "beside frames repeated", EXPLAIN: "with the steps of the network"}
NAMED_CUTS = 12  # that are listed; the receipt has all


def describe_plan(plan: VideoPlan) -> str:
    """Return a plan as text for the terminal."""
    source, timeline = plan.source, plan.timeline
    encoding, copied = plan.encoding, plan.copied
    views = dict(VIEWS)
    if plan.options.compare_model is not None:
        views[COMPARE] = f"beside the frames of {plan.options.compare_model}"
    height, width = source.stored_size or (source.height, source.width)
    lines = [
        (
            "input",
            f"{source.path}: {len(source.timestamps)} frames, {format_rate(source.frame_rate)}, "
            f"{float(source.duration):.3f} s, {width}x{height} "
            f"{source.pixel_format.pix_fmt}, {source.header.codec}",
        ),
        (
            "output",
            f"{plan.output}: {timeline.num_frames} frames, {format_rate(plan.rate)}, "
            f"{float(plan.duration):.3f} s, {encoding.pixel_format.layout.pix_fmt}, {encoding}",
        ),
        *(("also", f"{path}, {views[name]}") for name, path in plan.outputs.items() if name),
        ("cuts", describe_cuts(plan)),
    ]
    if timeline.is_loop:
        lines.append(("loop", describe_loop(plan)))
    if timeline.holds:
        text = describe_holds(source.timestamps, timeline.holds, plan.options.hold_gaps)
        lines.append(("holds", text))
    if plan.options.encoding.purpose is not None:
        lines.append(("for", describe_purpose(plan.options.encoding)))
    if given := describe_options(plan.options):
        lines.append(("options", given))
    if timeline.distinct is not None:
        repeats = len(source.timestamps) - len(timeline.distinct)
        lines.append(("repeats", f"{repeats} of the frames repeat the one before"))
    others = copied.describe(source.header)
    others += [] if is_folder(plan.output) else ["metadata", "colour tags"]
    lines.append(("copied", ", ".join(others) or "nothing"))
    lines += [("lost", text) for text in copied.lost]
    lines += [("note", text) for text in (*source.notes, *encoding.notes, *copied.notes)]
    free = free_space(plan.output)
    disk = f"about {format_bytes(plan.bytes_needed)} while at work, {format_bytes(free)} free"
    lines.append(("disk", disk + (": that may not do" if free < plan.bytes_needed else "")))
    return "\n".join(f"{name:8}{text}" for name, text in lines)


def describe_loop(plan: VideoPlan) -> str:
    """Say what lies between the last frame and the first."""
    if len(plan.source.timestamps) in plan.cuts:
        return "the last frame and the first are two scenes: the last is held (--no-cuts: not)"
    return "new frames lead from the last frame back to the first"


def describe_cuts(plan: VideoPlan) -> str:
    """Return how many cuts there are, and where the first ones are."""
    if not plan.options.cuts:
        return "not looked for"
    if not plan.cuts:
        return "none found"
    cuts = sorted(plan.cuts)
    named = ", ".join(f"{float(plan.timeline.source_times[cut]):.2f}" for cut in cuts[:NAMED_CUTS])
    more = f" and {len(cuts) - NAMED_CUTS} more" if len(cuts) > NAMED_CUTS else ""
    what = "the frame before is held" if plan.options.at_cuts == "hold" else "frames are blended"
    return f"{len(cuts)}, at {named}{more} s; there {what}"


def format_rate(rate: Fraction) -> str:
    """Return frames per second with five digits."""
    return f"{float(rate):.5g} fps"


def format_bytes(count: int) -> str:
    """Return a size on disk."""
    return f"{count / 1e9:.1f} GB" if count >= 1e8 else f"{count / 1e6:.1f} MB"
