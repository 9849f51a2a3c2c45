"""Testing, threshold analysis and evaluation with several raters: a reference label stands for the nested list."""

import copy

import pandas

from ivadomed_labelfusion.config.check import is_nested


def reference_suffixes(datasets):
    """Return the suffixes of the reference labels if the datasets have several raters, else None."""
    for dataset in datasets:
        if getattr(dataset, "plan", None) is not None:
            return dataset.reference.suffixes
    return None


def test(original):
    """Wrap ``ivadomed.testing.test``: predictions are named after the image, whatever the raters' suffixes are."""

    def wrapped(model_params, dataset_test, testing_params, *args, **kwargs):
        suffixes = reference_suffixes([dataset_test])
        if suffixes is not None:
            testing_params = {**testing_params, "target_suffix": suffixes}
        return original(model_params, dataset_test, testing_params, *args, **kwargs)

    return wrapped


def threshold_analysis(original):
    """Wrap ``ivadomed.testing.threshold_analysis``: it compares with the reference labels, which are written first."""

    def wrapped(model_path, ds_lst, model_params, testing_params, *args, **kwargs):
        suffixes = reference_suffixes(ds_lst)
        if suffixes is not None:
            testing_params = {**testing_params, "target_suffix": suffixes}
            for dataset in ds_lst:
                dataset.write_references()
        return original(model_path, ds_lst, model_params, testing_params, *args, **kwargs)

    return wrapped


class AppendingDataFrame(pandas.DataFrame):
    """``DataFrame`` with the ``append`` that pandas 2 removed."""

    @property
    def _constructor(self):
        return AppendingDataFrame

    def append(self, other, ignore_index=False):
        """Return a frame with the rows (a mapping is one row) added at the end."""
        rows = other if isinstance(other, pandas.DataFrame) else pandas.DataFrame([other])
        if self.empty:
            return AppendingDataFrame(rows)
        return pandas.concat([self, AppendingDataFrame(rows)], ignore_index=ignore_index)


class AppendingPandas:
    """Stands in for ``pandas`` in ``ivadomed.evaluation``."""

    DataFrame = AppendingDataFrame

    def __getattr__(self, name):
        return getattr(pandas, name)


def evaluate(original):
    """Wrap ``ivadomed.evaluation.evaluate``: several raters are replaced by the reference that testing wrote."""

    def wrapped(bids_df, path_output, target_suffix, eval_params):
        if not is_nested(target_suffix):
            return original(bids_df, path_output, target_suffix, eval_params)
        view, suffixes = with_reference_labels(bids_df)
        return original(view, path_output, suffixes, eval_params)

    return wrapped


def with_reference_labels(bids_df):
    """Return a copy of the table of files with the reference labels in the place of the raters' masks.

    Returns:
        (RaterBidsDataframe, list of str): The copy, and the suffix of the reference label per class.
    """
    from ivadomed_labelfusion.host.labels import FusedLabels

    reference = FusedLabels(bids_df.fused_folder, bids_df.nested, bids_df.reference_method)
    files = [path for suffix in reference.suffixes for path in sorted(reference.folder.glob(f"*{suffix}.nii.gz"))]
    labels = pandas.DataFrame({"path": [str(path) for path in files], "filename": [path.name for path in files]})
    view = copy.copy(bids_df)
    images = bids_df.df[~bids_df.df["path"].str.contains("derivatives")]
    view.df = pandas.concat([images, labels], ignore_index=True)
    view.get_deriv_fnames = lambda: labels["filename"].to_list()
    return view, reference.suffixes
