"""The part of the page that shows a job: its state, its plan and its result. Needs Gradio."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import gradio as gr

from sgm_vfi.app.interpolate_clip_or_pair import Result
from sgm_vfi.app.session_files import hide_folders
from sgm_vfi.command_errors import describe_error
from sgm_vfi.media.images import is_image
from sgm_vfi.video.progress_and_cancel import InterpolationCancelled
from sgm_vfi.video.progress_bar import TimeLeft, format_duration

logger = logging.getLogger(__name__)

Update = dict[Any, Any]  # component -> its value
PLAYED = (".mp4", ".webm", ".mov", ".m4v")  # by browsers


class ResultFields(NamedTuple):
    """Where a job shows its state and its result."""

    start: gr.Button
    cancel: gr.Button
    status: gr.Markdown
    plan: gr.Textbox
    slider: gr.ImageSlider
    video: gr.HTML
    files: gr.File
    views: gr.HTML  # of flow, reliability and the network's steps

    def begin(self, text: str, *, can_cancel: bool = True) -> Update:
        """Clear the result, and let the job be cancelled."""
        shown = (self.plan, self.slider, self.video, self.files, self.views)
        return {
            self.start: gr.update(interactive=False),
            self.cancel: gr.update(interactive=can_cancel),
            self.status: text,
            **{field: gr.update(value=None, visible=False) for field in shown},
        }

    def end(self, text: str) -> Update:
        """Show the last sentence, and let another job start."""
        return {
            self.start: gr.update(interactive=True),
            self.cancel: gr.update(interactive=False),
            self.status: text,
        }

    def show(self, result: Result) -> Update:
        """Show the result of a job."""
        values: dict[Any, Any] = {
            self.slider: result.before and (str(result.before), str(result.after)),
            self.video: result.video and show_file(result.video, "Result"),
            self.views: "".join(show_file(*view) for view in result.views),
            self.files: [str(path) for path in result.files],
        }
        shown = {field: gr.update(value=v, visible=bool(v)) for field, v in values.items()}
        return self.end(f"**Done.** {result.summary}") | shown


def show_file(path: Path, caption: str) -> str:
    """Return a picture, or a player of a video, as HTML; nothing that browsers do not play."""
    source = f"/gradio_api/file={quote(str(path))}"
    if is_image(path):
        shown = f'<a href="{source}" target="_blank"><img src="{source}" alt="{caption}"></a>'
    elif path.suffix.lower() in PLAYED:
        shown = f'<video controls autoplay loop muted playsinline src="{source}"></video>'
    else:
        return ""
    return f'<figure class="result"><figcaption>{caption}</figcaption>{shown}</figure>'


def describe_failure(error: Exception) -> str:
    """Return one sentence for what ended a job."""
    if isinstance(error, InterpolationCancelled):
        return f"**Cancelled.** {hide_folders(error.kept or str(error))}"
    if isinstance(error, (ValueError, OSError, MemoryError, RuntimeError)):
        return f"**Error:** {hide_folders(describe_error(error))}"
    logger.error("a job of the page failed", exc_info=error)
    return f"**Error:** {type(error).__name__}; the terminal of `sgm-vfi app` shows more."


def add_result_buttons() -> tuple[gr.Button, gr.Button]:
    """Add the buttons that start and cancel a job."""
    with gr.Row():
        return gr.Button("Interpolate", variant="primary"), gr.Button("Cancel", interactive=False)


def add_result_fields(start: gr.Button, cancel: gr.Button) -> ResultFields:
    """Add the column for the state and the result of a job."""
    with gr.Column(scale=3, min_width=320):  # in the order of the page
        return ResultFields(
            start,
            cancel,
            status=gr.Markdown("", min_height=60),
            plan=gr.Textbox(
                label="Plan", lines=9, max_lines=16, visible=False, elem_classes="plan"
            ),
            video=gr.HTML(visible=False),
            files=gr.File(
                label="Download", file_count="multiple", visible=False, interactive=False
            ),
            slider=gr.ImageSlider(
                label="Without and with the network", visible=False, interactive=False, buttons=[]
            ),
            views=gr.HTML(visible=False),
        )


def report_to(progress: gr.Progress) -> Callable[[int, int], None]:
    """Return a function that shows how many frames are done, and the time that is left."""
    time_left: TimeLeft | None = None

    def report(done: int, total: int) -> None:
        """Show the progress."""
        nonlocal time_left
        if time_left is None:
            time_left = TimeLeft(total - done)
        else:
            time_left.advance()
        left = time_left.seconds_left
        text = "" if left is None else f"Time left {format_duration(left)}"
        progress((done, total), desc=text, unit="frames")

    return report
