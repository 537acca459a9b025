"""Interpolate frames between two images, the images of a folder, or those of a video.

python demo_2x.py A.png B.png        the frame between two images
python demo_2x.py FOLDER --multi 4   a folder with four times as many frames
python demo_2x.py CLIP.mp4           a video with twice as many frames
python demo_2x.py -h                 all options

The same command is `sgm-vfi interpolate`.
"""

from collections.abc import Sequence

from sgm_vfi.startup import announce_loading


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `sgm-vfi interpolate` under the published name."""
    announce_loading("demo_2x.py")
    from sgm_vfi.video import command

    command.main(arguments, prog="demo_2x.py")


if __name__ == "__main__":
    main()
