"""Image files, as they are read for training and for predicting alike."""

import os
from contextlib import contextmanager

from PIL import Image, ImageOps, UnidentifiedImageError

from ensemble.common.checks import check_file
from ensemble.common.command import short

FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP", "TIFF")  # whatever the name: Pillow has PostScript run as a program


@contextmanager
def quiet_libraries():
    """Lose what libraries in C, such as TIFF's, write to stderr meanwhile; not for several threads at once.

    Words of Python's go there too, but in commands, whose sys.stderr has another descriptor (see stream_like).
    """
    stderr = os.dup(2)
    try:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 2)
        os.close(null)
        yield
    finally:
        os.dup2(stderr, 2)
        os.close(stderr)


def read_image(path, size=None):
    """Return an image file as Pillow's RGB image, turned as its EXIF data say, on white where it is transparent.

    size: the height and width it is resized to; a JPEG file of twice that, or more, is decoded at a half, a quarter or
    an eighth of its size, which takes less time. transfer/transfer.py reads files the same way.
    Raises ValueError, which names the file, if it is broken or has more than 8 bits a channel.
    """
    try:
        check_file(path)
        with quiet_libraries(), Image.open(path, formats=FORMATS) as image:
            if image.mode[0] in "IF":  # Pillow would cut these to 8 bits, mostly to plain white
                raise ValueError("it has more than 8 bits a channel")
            if size:
                image.draft(None, (size, size))
            image = ImageOps.exif_transpose(image)
            if image.has_transparency_data:
                image = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
            return image.convert("RGB")
    except UnidentifiedImageError:
        raise ValueError(f"{path} cannot be read as an image: it is none of {', '.join(FORMATS)}") from None
    except Exception as error:  # Pillow raises many kinds on a broken file
        raise ValueError(f"{path} cannot be read as an image: {short(error)}") from None


def resized(image, size, fit):
    """Return a Pillow image of size x size pixels, bilinear: of the middle square, or of all if fit is "stretch".

    The pixels are those of keras.utils.load_img with keep_aspect_ratio for "crop", and without for "stretch", but for a
    JPEG file that read_image decoded at a part of its size.
    """
    width, height = image.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    box = (left, top, left + side, top + side) if fit == "crop" else (0, 0, width, height)
    return image.resize((size, size), Image.Resampling.BILINEAR, box)
