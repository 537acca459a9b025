"""The page: its fields, and what happens when a button is pressed. Needs Gradio."""

import argparse
import threading
from collections.abc import Callable, Iterator
from typing import Any, get_args

import gradio as gr

from sgm_vfi.app.interpolate_clip_or_pair import (
    FPS,
    MULTIPLES,
    RATES,
    SLOW,
    JobRunner,
    read_clip_options,
)
from sgm_vfi.app.network_choices import describe_missing_weights, list_runnable_networks
from sgm_vfi.app.result_fields import (
    ResultFields,
    Update,
    add_result_buttons,
    add_result_fields,
    describe_failure,
    report_to,
)
from sgm_vfi.app.session_files import SessionFiles, hide_folders
from sgm_vfi.model.zoo import default_interpolator
from sgm_vfi.video.job_plan import VideoPlan
from sgm_vfi.video.plan_text import describe_plan
from sgm_vfi.video.slow_sound import SlowSound

CSS = """
.gradio-container {max-width: 1240px !important}
.plan textarea {font: 12px ui-monospace, monospace; white-space: pre-wrap}
.result {margin: 0} .result figcaption {padding: 4px 0; color: var(--block-label-text-color)}
.result video, .result img {width: 100%; border-radius: 8px}
footer {display: none !important}
@media (max-width: 600px) {.meta-text-center {display: none !important}} /* overlaps the bar */
"""
PROGRESS = gr.Progress()  # Gradio finds it among the defaults of a function's arguments


def build_page(runner: JobRunner, sessions: SessionFiles) -> gr.Blocks:
    """Build the page."""
    with gr.Blocks(title="SGM-VFI", analytics_enabled=False) as page:
        gr.Markdown("# Frame interpolation\nNew frames between two images, or in a clip.")
        with gr.Row():
            with gr.Column(scale=2, min_width=320):
                names = list_runnable_networks()
                model = gr.Dropdown(names, value=default_interpolator(), label="Network")
            with (
                gr.Column(scale=3, min_width=320),
                gr.Accordion("Networks without weights here", open=False),
            ):
                gr.Markdown(describe_missing_weights() or "None: all weights are here.")
        with gr.Tab("A clip"):
            add_clip_tab(runner, sessions, model)
        with gr.Tab("Two images"):
            add_pair_tab(runner, sessions, model)

        def close(request: gr.Request) -> None:
            """Delete the files of a session whose page was closed."""
            sessions.end(str(request.session_hash))

        page.unload(close)
    return page


def add_rate_fields() -> tuple[gr.Radio, gr.Textbox, gr.Radio]:
    """Add the fields for the rate, for the number that it needs, and for the sound."""
    rate = gr.Radio(RATES, value=RATES[0], label="Rate")
    amount = gr.Textbox(label="How many", visible=False)
    choices = get_args(SlowSound)
    sound = gr.Radio(choices, value="drop", label="Sound of slow motion", visible=False)

    def choose_rate(name: str) -> tuple[Update, Update]:
        """Show the fields that a rate needs."""
        label, value = ("Frames per second", "60") if name == FPS else ("Times as long", "4")
        number = gr.update(visible=name not in MULTIPLES, label=label, value=value)
        return number, gr.update(visible=name == SLOW)

    rate.change(choose_rate, rate, [amount, sound], api_visibility="private")
    return rate, amount, sound


def add_part_fields() -> tuple[gr.Textbox, gr.Textbox]:
    """Add the fields for the start and the end of the part that is used."""
    with gr.Row():
        start = gr.Textbox(label="Start", placeholder="0:10 or 250f", min_width=120)
        return start, gr.Textbox(label="End", placeholder="the end", min_width=120)


def add_clip_tab(runner: JobRunner, sessions: SessionFiles, model: gr.Dropdown) -> None:
    """Add the fields for a clip, and its job."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            clip = gr.File(label="Clip", file_types=["video"], height=130)
            rate, amount, sound = add_rate_fields()
            start_at, end_at = add_part_fields()
            explain = gr.Checkbox(label="Also show flow and the network's other steps (a video)")
            find_worst = gr.Checkbox(label="Also find the least reliable frames")
            preview = gr.Button("Show the plan")
            buttons = add_result_buttons()
        fields = add_result_fields(*buttons)

    def plan_job(typed: Update, session: str) -> VideoPlan:
        """Read the clip, and return the plan."""
        values = (typed[field] for field in (rate, amount, sound, start_at, end_at))
        options = read_clip_options(*values, explain=typed[explain], find_worst=typed[find_worst])
        return runner.plan_clip(typed[clip], typed[model], options, sessions.folder(session))

    def show_plan(typed: Update, request: gr.Request) -> Iterator[Update]:
        """Show the plan only."""
        yield fields.begin("Reading the clip ...", can_cancel=False)
        try:
            text = hide_folders(describe_plan(plan_job(typed, str(request.session_hash))))
        except Exception as error:
            yield fields.end(describe_failure(error))
        else:
            yield fields.end("") | {fields.plan: gr.update(value=text, visible=True)}

    def run(
        typed: Update, request: gr.Request, progress: gr.Progress = PROGRESS
    ) -> Iterator[Update]:
        """Show the plan, then do the work."""
        session = str(request.session_hash)
        cancel = sessions.start_job(session)
        yield fields.begin("Reading the clip ...")
        try:
            plan = plan_job(typed, session)
            shown = gr.update(value=hide_folders(describe_plan(plan)), visible=True)
            yield {fields.plan: shown, fields.status: "Making frames ..."}
            result = runner.run_clip(plan, typed[model], report_to(progress), cancel)
        except Exception as error:
            yield fields.end(describe_failure(error))
        else:
            yield fields.show(result)

    typed = {clip, model, rate, amount, sound, start_at, end_at, explain, find_worst}
    connect_upload(clip, sessions)
    preview.click(show_plan, typed, list(fields), show_progress_on=fields.status, **WORK)
    connect_job(fields, run, typed, sessions)


def add_pair_tab(runner: JobRunner, sessions: SessionFiles, model: gr.Dropdown) -> None:
    """Add the fields for two images, and their job."""
    with gr.Row():
        with gr.Column(scale=2, min_width=320):
            with gr.Row():
                first, second = add_image_field("First image"), add_image_field("Second image")
            multi = gr.Slider(2, 16, value=2, step=1, label="Times as many frames")
            buttons = add_result_buttons()
        fields = add_result_fields(*buttons)

    def run(
        typed: Update, request: gr.Request, progress: gr.Progress = PROGRESS
    ) -> Iterator[Update]:
        """Make the frames between the images."""
        session = str(request.session_hash)
        cancel = sessions.start_job(session)
        yield fields.begin("Making frames ...")
        try:
            result = runner.run_pair(
                (typed[first], typed[second]),
                typed[model],
                int(typed[multi]),
                sessions.folder(session),
                progress=report_to(progress),
                cancel=cancel,
            )
        except Exception as error:
            yield fields.end(describe_failure(error))
        else:
            yield fields.show(result)

    for image in (first, second):
        connect_upload(image, sessions)
    connect_job(fields, run, {first, second, model, multi}, sessions)


def add_image_field(label: str) -> gr.Image:
    """Add a field for an image, whose file is kept as it was uploaded."""
    field = gr.Image(
        label=label, type="filepath", sources=["upload"], height=180, min_width=140, buttons=[]
    )
    # Gradio would decode with Pillow, which halves 16 bits; our readers name what is wrong
    field.preprocess = lambda payload: payload and payload.path
    return field


WORK: dict[str, Any] = {
    "concurrency_id": "work",  # one job at a time, others wait
    "concurrency_limit": 1,
    "api_visibility": "private",
}


def connect_job(
    fields: ResultFields, run: Callable[..., Any], typed: set[Any], sessions: SessionFiles
) -> None:
    """Connect the buttons that start and cancel a job."""

    def cancel(request: gr.Request) -> None:
        """Ask the job of this session to stop."""
        sessions.cancel_job(str(request.session_hash))

    fields.start.click(run, typed, list(fields), show_progress_on=fields.status, **WORK)
    fields.cancel.click(cancel, None, None, queue=False, api_visibility="private")


def connect_upload(field: Any, sessions: SessionFiles) -> None:
    """Delete what is uploaded to a field when the session ends."""

    def add(request: gr.Request, path: str | None) -> None:
        """Take note of the file."""
        sessions.add_upload(str(request.session_hash), path)

    field.upload(add, field, None, queue=False, api_visibility="private")


def launch(sessions: SessionFiles, args: argparse.Namespace) -> None:
    """Serve the page until an exception, such as Ctrl-C, ends the process.

    Args:
        args: of the command.
    """
    gr.set_static_paths([sessions.results])  # served from there, without copies
    page = build_page(JobRunner(args.device), sessions)
    _, url, _ = page.queue(max_size=20).launch(
        server_name=args.host,
        server_port=args.port,
        max_file_size=f"{args.max_upload}mb",
        share=False,
        quiet=True,
        prevent_thread_lock=True,
        ssr_mode=False,
        pwa=False,
        css=CSS,
        footer_links=[],
        theme=gr.themes.Default(font=["system-ui", "sans-serif"], font_mono=["monospace"]),
    )
    print(f"Open {url} (Ctrl-C ends)", flush=True)
    try:
        threading.Event().wait()
    finally:
        page.close(verbose=False)
