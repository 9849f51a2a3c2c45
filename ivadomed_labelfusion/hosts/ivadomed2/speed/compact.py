"""Loaded samples in little memory: images as float32, masks as the box that holds them, bits where they are binary.

Images of data sets larger than a share of the memory lie in a file without a name, which ends with the process.
"""

import os
import tempfile
from dataclasses import dataclass, replace

import numpy as np
from ivadomed.keywords import MetadataKW


@dataclass(frozen=True)
class PackedMask:
    """One mask of a sample; what lies outside its box is 0.

    Attributes:
        shape (tuple of int): Of the whole mask.
        box (tuple of slice or None): Where it is not 0; None if it is empty.
        values (ndarray): Within the box: packed bits (uint8) of a binary mask, else the values themselves.
        dtype (dtype): Of the whole mask.
        is_binary (bool): Whether ``values`` are bits.
    """

    shape: tuple
    box: tuple
    values: np.ndarray
    dtype: np.dtype
    is_binary: bool

    @classmethod
    def of(cls, mask):
        """Pack an array of any shape; ``dense`` gives the same values back."""
        mask = np.asarray(mask)
        box = _box_of(mask)
        if box is None:
            return cls(mask.shape, None, np.empty(0, np.uint8), mask.dtype, True)
        inner = mask[box]
        is_binary = bool(np.all((inner == 0) | (inner == 1)))
        values = np.packbits(inner != 0) if is_binary else np.ascontiguousarray(inner)
        return cls(mask.shape, box, values, mask.dtype, is_binary)

    def inner(self):
        """Return the values within the box."""
        if not self.is_binary:
            return self.values
        shape = tuple(part.stop - part.start for part in self.box)
        return np.unpackbits(self.values, count=int(np.prod(shape))).reshape(shape)

    def dense(self):
        """Return the whole mask, as it was packed."""
        mask = np.zeros(self.shape, self.dtype)
        if self.box is not None:
            mask[self.box] = self.inner()
        return mask


def _box_of(mask):
    """Return the smallest box around what is not 0, None if there is nothing."""
    box = []
    occupied = mask != 0
    for axis in range(mask.ndim):
        line = np.flatnonzero(occupied.any(axis=tuple(other for other in range(mask.ndim) if other != axis)))
        if not len(line):
            return None
        box.append(slice(int(line[0]), int(line[-1]) + 1))
    # a single number, such as the label of a classification
    return tuple(box) if mask.ndim else (() if bool(mask != 0) else None)


@dataclass(frozen=True)
class PackedPair:
    """A slice or volume of ivadomed (``input``, ``gt`` and their metadata) with packed masks.

    Attributes:
        images (list of ndarray): One per channel.
        masks (list or None): Per class a `PackedMask`, or a list of them, one per rater.
        input_metadata, gt_metadata (list): As in ivadomed.
    """

    images: list
    masks: list
    input_metadata: list
    gt_metadata: list

    @classmethod
    def of(cls, pair):
        """Pack a pair of ivadomed."""
        masks = pair["gt"]
        if masks is not None:
            masks = [
                [PackedMask.of(mask) for mask in row] if isinstance(row, list) else PackedMask.of(row) for row in masks
            ]
        images = [np.ascontiguousarray(image) for image in pair["input"]]
        return cls(images, masks, pair[MetadataKW.INPUT_METADATA], pair[MetadataKW.GT_METADATA])

    def unpacked(self):
        """Return the pair as ivadomed made it; metadata and images are shared."""
        masks = self.masks
        if masks is not None:
            masks = [[mask.dense() for mask in row] if isinstance(row, list) else row.dense() for row in masks]
        return {
            "input": list(self.images),
            "gt": masks,
            MetadataKW.INPUT_METADATA: self.input_metadata,
            MetadataKW.GT_METADATA: self.gt_metadata,
        }


def memory_share(share: float = 0.25) -> int:
    """Return a share of this machine's memory in bytes."""
    return int(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") * share)


class PackedItems:
    """Stands in for ivadomed's list of loaded ``(pair, pair with the region of interest)``, in less memory.

    Args:
        limit (int): Bytes of images that are kept in memory; further ones are read from a file when they are needed.
            None takes a quarter of the machine's memory (training and validation each have a list).
    """

    def __init__(self, limit: int | None = None):
        self.packed = []
        self._regions = []
        self._left = memory_share() if limit is None else limit
        self._file = None

    def append(self, item):
        """Add an item of ivadomed."""
        pair, region = item
        packed = PackedPair.of(pair)
        self._left -= sum(image.nbytes for image in packed.images)
        if self._left < 0:
            packed = replace(packed, images=[self._on_disk(image) for image in packed.images])
        self.packed.append(packed)
        if region is not None:
            # the images are those of the pair
            region = {**region, "input": None, "gt": [PackedMask.of(mask) for mask in region["gt"]]}
        self._regions.append(region)

    def _on_disk(self, image):
        """Return the image as a map of a file for temporary data; what is written to it does not reach the file."""
        if self._file is None:
            # open as long as the images are needed
            self._file = tempfile.TemporaryFile(prefix="ivadomed_labelfusion_")  # noqa: SIM115
        start = self._file.seek(0, os.SEEK_END)
        self._file.write(image.tobytes())
        self._file.flush()
        return np.memmap(self._file, image.dtype, "c", start, image.shape)

    def __len__(self):
        return len(self.packed)

    def __getitem__(self, index):
        """Return an item as it was added."""
        pair, region = self.packed[index].unpacked(), self._regions[index]
        if region is not None:
            region = {**region, "input": pair["input"], "gt": [mask.dense() for mask in region["gt"]]}
        return pair, region

    def __iter__(self):
        return (self[index] for index in range(len(self)))
