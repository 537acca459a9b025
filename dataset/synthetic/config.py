"""Configuration of synthetic scenes."""

from dataclasses import dataclass, replace


@dataclass(frozen=True, kw_only=True)
class SyntheticConfig:
    """Size, objects, motion and degradations of synthetic scenes.

    Ranges are (least, most). Lengths are shares of the frame's shorter side: at 512x512, 0.001 is
    half a pixel and 0.4 is 205 pixels.
    """

    size: tuple[int, int] = (256, 256)  # height, width
    objects: tuple[int, int] = (2, 7)  # foreground layers
    radius: tuple[float, float] = (0.08, 0.5)  # of an object, log-uniform
    motion: tuple[float, float] = (0.001, 0.4)  # of an object between the frames
    camera: tuple[float, float] = (0.0005, 0.15)  # of the camera between the frames
    still: float = 0.0  # probability that the camera stands still; and of each object
    zoom: tuple[float, float] = (0.5, 1.2)  # texels per pixel; small values look blurred
    growing: int = 0  # epochs of the curriculum: see `at_epoch`
    any_time: bool = False  # target at any time; otherwise 0.5
    nonrigid: float = 0.5  # probability that a layer bends; below: per scene
    curved: float = 0.0  # curved paths and changing speeds
    blur: float = 0.15  # motion blur
    lighting: float = 0.25  # changing light
    grain: float = 0.25  # sensor noise
    lens: float = 0.0  # defocus
    coded: float = 0.0  # codec artefacts
    textures: int = 48  # number on the device, photographs first
    texture_size: int = 512
    masks: int = 100
    mask_size: int = 192

    def at_epoch(self, epoch: int) -> "SyntheticConfig":
        """Return the configuration of a training epoch of the curriculum.

        Training begins with a moving camera over one surface. Objects, bends, blur, light, grain,
        still layers and small camera motions are added linearly over `growing` epochs.
        """
        if epoch >= self.growing:
            return self
        share = epoch / self.growing
        objects = round(share * self.objects[0]), round(share * self.objects[1])
        chances = ("still", "nonrigid", "blur", "lighting", "grain")
        fewer = {name: share * getattr(self, name) for name in chances}
        least, most = self.camera
        camera = least * (most / least) ** ((1 - share) / 2), most
        return replace(self, objects=objects, camera=camera, **fewer)

    def __post_init__(self) -> None:
        for name in ("objects", "radius", "motion", "camera", "zoom"):
            least, most = getattr(self, name)
            if not 0 <= least <= most or (name != "objects" and least == 0):
                raise ValueError(
                    f"{name} is a range (least, most) above 0 with least <= most, "
                    f"got ({least}, {most})."
                )
        for name in ("still", "nonrigid", "curved", "blur", "lighting", "grain", "lens", "coded"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name} is a probability, got {getattr(self, name)}.")
        if min(self.size) < 16:
            raise ValueError(f"Synthetic frames are 16x16 or larger, got size {self.size}.")
