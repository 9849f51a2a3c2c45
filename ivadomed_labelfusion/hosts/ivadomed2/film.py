"""FiLM: conditioning a model on the contrast of an image, or on a column of participants.tsv.

ivadomed's own preparation fails with scikit-learn >= 1.4, and turns a dataset into a list of fixed samples: without new
augmentation, and with one rater for ever. Here the conditioning value is added when a sample is asked for.
"""

from pathlib import Path

import numpy as np
from ivadomed.loader.film import GENERIC_CONTRAST
from sklearn.preprocessing import OneHotEncoder

from ivadomed_labelfusion.errors import InputError
from ivadomed_labelfusion.files import read_json, write_json

FILE = "film.json"
_CONTRASTS = "contrasts"
_INPUT = "film_input"


def uses_film(model_params):
    """Tell whether a model is conditioned, from ivadomed's parameters."""
    return any(model_params.get("film_layers") or [])


class FilmEncoder:
    """One-hot code of the values that a model was trained with; any other value is all zeros.

    Args:
        metadata (str): ``contrasts``, or a column of participants.tsv.
        values (list of str): The values known, sorted.
    """

    def __init__(self, metadata, values):
        self.metadata = metadata
        self.values = list(values)
        self.one_hot = OneHotEncoder(categories=[self.values], handle_unknown="ignore", sparse_output=False)
        self.one_hot.fit(np.array(self.values, dtype=object)[:, None])

    @classmethod
    def of_dataset(cls, dataset, metadata):
        """Return the encoder of the values that a training set has.

        Raises:
            InputError: If no image has a value.
        """
        values = {value_of(channels[0], metadata) for *_, channels in dataset.filename_pairs} - {None}
        if not values:
            raise InputError(
                f"FiLMedUnet.metadata must be contrasts or a column of participants.tsv with a value for the images of "
                f"the training set, but {metadata!r} has none. Fill it, or choose another column."
            )
        return cls(metadata, sorted(values))

    @classmethod
    def read(cls, folder):
        """Return the encoder that training wrote into a folder, or None if there is none."""
        path = Path(folder, FILE)
        if not path.is_file():
            return None
        content = read_json(path)
        try:
            metadata, values = content["metadata"], content["values"]
        except (KeyError, TypeError):
            metadata, values = None, None
        if not isinstance(metadata, str) or not isinstance(values, list) or not values:
            raise InputError(f"{path} must name metadata and values of a FiLM model. Restore it, or train again.")
        return cls(metadata, [str(value) for value in values])

    def write(self, folder):
        """Write the encoder into a folder."""
        write_json(Path(folder, FILE), {"metadata": self.metadata, "values": self.values}, overwrite=True)

    def into(self, model_params):
        """Return ivadomed's parameters with this encoder."""
        return {**model_params, "film_onehotencoder": self.one_hot, "n_metadata": len(self.values)}

    def mark(self, metadata):
        """Add the conditioning value to the metadata of an image, in place."""
        metadata[_INPUT] = [value_of(metadata, self.metadata)]


def value_of(metadata, name):
    """Return the conditioning value of an image as text, None where it has none.

    Args:
        metadata (Mapping): Of the image.
        name (str): ``contrasts``, or a column of participants.tsv.
    """
    if name == _CONTRASTS:
        contrast = metadata["contrast"]
        return GENERIC_CONTRAST.get(contrast, contrast)
    is_known = name in metadata
    return as_text(metadata[name]) if is_known else None


def as_text(value):
    """Return a value of a table as text; 1 and 1.0, which pandas takes for one another, are the same."""
    if value is None or value != value:
        return None
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)


class FilmSamples:
    """A dataset whose samples bear their conditioning value; everything else is the dataset's own.

    Args:
        samples (Dataset): The dataset.
        encoder (FilmEncoder): What the value is.
    """

    def __init__(self, samples, encoder):
        self.samples = samples
        self.encoder = encoder

    def __len__(self):
        return len(self.samples)

    def __getitem__(self, index):
        """Return a sample; its first channel has the value."""
        sample = self.samples[index]
        self.encoder.mark(sample["input_metadata"][0])
        return sample

    def batch(self, indices):
        """Return a whole batch of a dataset that makes batches; the first channels have the values."""
        batch = self.samples.batch(indices)
        for metadata in batch["input_metadata"]:
            self.encoder.mark(metadata[0])
        return batch

    def __getattr__(self, name):
        if name in ("samples", "encoder"):
            # not there yet while a copy is being made
            raise AttributeError(name)
        return getattr(self.samples, name)


def with_encoder(dataset, encoder):
    """Return the dataset with conditioning values, itself if it has them."""
    return dataset if isinstance(dataset, FilmSamples) else FilmSamples(dataset, encoder)


def film_normalize_data(context, model_params, ds_train, ds_valid, path_output):
    """Give both datasets their values; stands in for ``ivadomed.main.film_normalize_data``."""
    encoder = FilmEncoder.of_dataset(ds_train, model_params["metadata"])
    encoder.write(path_output)
    return encoder.into(model_params), FilmSamples(ds_train, encoder), FilmSamples(ds_valid, encoder), encoder


def create_path_model(context, model_params, ds_train, path_output, train_onehotencoder):
    """Make the folder of the packaged model; stands in for ``ivadomed.main.create_path_model``."""
    folder = Path(path_output, context["model_name"])
    folder.mkdir(parents=True, exist_ok=True)
    if uses_film(model_params):
        train_onehotencoder.write(folder)


def update_film_model_params(original):
    """Wrap ``ivadomed.main.update_film_model_params``; models trained without the plugin go ivadomed's own way."""

    def wrapped(context, ds_test, model_params, path_output):
        encoder = FilmEncoder.read(path_output)
        if encoder is None:
            return original(context, ds_test, model_params, path_output)
        return FilmSamples(ds_test, encoder), encoder.into(model_params)

    return wrapped


def get_onehotencoder(original):
    """Wrap ``ivadomed.inference.get_onehotencoder``: the volume to segment gets its value, which may be a new one."""

    def wrapped(context, folder_model, options, ds):
        encoder = FilmEncoder.read(folder_model)
        if encoder is None:
            return original(context, folder_model, options, ds)
        value = as_text(options.get("metadata"))
        if encoder.metadata == _CONTRASTS:
            value = GENERIC_CONTRAST.get(value, value)
        # the volume itself may lie in a cache on disk; its samples get the value where they are collected
        ds.marks = {_INPUT: [value]}
        return encoder.one_hot

    return wrapped


def store_film_params(original):
    """Wrap ``store_film_params``.

    The contrast of an image is not called ``contrasts`` in its metadata, and the layers of a modified 3D U-Net are not
    where those of the others are.
    """

    def wrapped(gammas, betas, metadata_values, metadata, model, film_layers, depth, film_metadata):
        name = "contrast" if film_metadata == _CONTRASTS else film_metadata
        if hasattr(model, "encoder"):
            return original(gammas, betas, metadata_values, metadata, model, film_layers, depth, name)
        metadata_values.append([sample[0][name] for sample in metadata])
        for number in [number for number, used in enumerate(film_layers, start=1) if used]:
            layer = getattr(model, f"film_layer{number}")
            gammas[number].append(layer.gammas.flatten(2)[..., 0].cpu().numpy())
            betas[number].append(layer.betas.flatten(2)[..., 0].cpu().numpy())
        return gammas, betas, metadata_values

    return wrapped


def save_film_params(gammas, betas, metadata_values, depth, ofolder):
    """Save the modulation of every sample; stands in for ``save_film_params``, which fails on a smaller last batch.

    Args:
        gammas (dict): Number of the layer -> list of ``(batch, channels)``, empty where there is no FiLM.
        betas (dict): As ``gammas``.
        metadata_values (list of list): The conditioning values, by batch.
        depth (int): Of the U-Net.
        ofolder (str): Target; empty where predictions are not kept either.
    """
    if not ofolder:
        return
    for layer in range(1, 2 * depth + 3):
        for name, batches in (("gamma", gammas[layer]), ("beta", betas[layer])):
            np.save(Path(ofolder, f"{name}_layer_{layer}.npy"), np.concatenate(batches) if batches else np.empty(0))
    values = [value for batch in metadata_values for value in batch]
    np.save(Path(ofolder, "metadata_values.npy"), np.array([str(value) for value in values]))
