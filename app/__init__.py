"""A page in the browser to try interpolators on images and clips: `sgm-vfi app`."""
