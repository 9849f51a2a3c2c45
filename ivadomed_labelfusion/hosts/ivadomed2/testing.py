"""Testing, threshold analysis and evaluation with several raters: a reference label stands for the nested list."""

import copy
from pathlib import Path

import pandas
from ivadomed.utils import get_task

from ivadomed_labelfusion.config.check import is_nested
from ivadomed_labelfusion.evaluation import settings_from_config
from ivadomed_labelfusion.files import atomic_path
from ivadomed_labelfusion.hosts.ivadomed2 import film, inter_rater, reconstruction, uncertainty
from ivadomed_labelfusion.hosts.ivadomed2.context import current_context
from ivadomed_labelfusion.hosts.ivadomed2.labels import FusedLabels
from ivadomed_labelfusion.hosts.ivadomed2.thresholds import search_over_volumes


def reference_suffixes(datasets):
    """Return the suffixes of the reference labels if the datasets have several raters, else None."""
    for dataset in datasets:
        if isinstance(getattr(dataset, "reference", None), FusedLabels):
            return dataset.reference.suffixes
    return None


def test(original):
    """Wrap ``ivadomed.testing.test``: predictions are named after the image, whatever the raters' suffixes are."""

    def wrapped(model_params, dataset_test, testing_params, *args, **kwargs):
        path_output = kwargs["path_output"] if "path_output" in kwargs else args[0]
        uncertainty.prepare(testing_params["uncertainty"], Path(path_output, "pred_masks"))
        suffixes = reference_suffixes([dataset_test])
        if suffixes is None:
            return original(model_params, dataset_test, testing_params, *args, **kwargs)
        testing_params = {**testing_params, "target_suffix": suffixes}
        with inter_rater.soft_predictions(Path(path_output, inter_rater.SOFT_FOLDER)):
            return original(model_params, dataset_test, testing_params, *args, **kwargs)

    return wrapped


def run_inference(original):
    """Wrap ``ivadomed.testing.run_inference``: one prediction per volume, and random passes are random only.

    The passes of ``uncertainty`` leave dropout on, and would count for the metrics; the plain pass that ends them is
    made as if there had been none.
    """

    def wrapped(
        test_loader,
        model,
        model_params,
        testing_params,
        ofolder,
        cuda_available,
        i_monte_carlo=None,
        postprocessing=None,
    ):
        # ivadomed asks 3D models for it after training
        model_params = {"attention": False, **model_params}
        is_random = testing_params["uncertainty"]["applied"]
        if not is_random:
            model.eval()
            test_loader, testing_params = uncertainty.plain(test_loader, testing_params)
        predictions, truths = original(
            test_loader,
            model,
            model_params,
            testing_params,
            # FiLM takes a folder for text
            "" if ofolder is None and film.uses_film(model_params) else ofolder,
            cuda_available,
            i_monte_carlo,
            postprocessing,
        )
        if get_task(model_params["name"]) == "segmentation":
            reconstruction.add_empty_volumes(
                test_loader,
                predictions,
                truths,
                folder=ofolder,
                testing_params=testing_params,
                iteration=i_monte_carlo,
                postprocessing=postprocessing,
            )
        return ([], []) if is_random else (predictions, truths)

    return wrapped


def threshold_analysis(original):
    """Wrap ``ivadomed.testing.threshold_analysis``: it compares with the reference labels, which are written first."""

    def wrapped(model_path, ds_lst, model_params, testing_params, *args, **kwargs):
        suffixes = reference_suffixes(ds_lst)
        if suffixes is not None:
            testing_params = {**testing_params, "target_suffix": suffixes}
            for dataset in ds_lst:
                dataset.write_references()
        if film.uses_film(model_params):
            encoder = film.FilmEncoder.read(Path(model_path).parent)
            if encoder is not None:
                ds_lst, model_params = [film.with_encoder(part, encoder) for part in ds_lst], encoder.into(model_params)
        if uncertainty.is_augmented(testing_params["uncertainty"]):
            testing_params = uncertainty.with_plain_undo(testing_params)
        if settings_from_config(current_context()).threshold_search == "volumes":
            return search_over_volumes(model_path, ds_lst, model_params, testing_params, *args, **kwargs)
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


class TestPath(type(Path())):
    """``Path`` for ivadomed's modules that list predictions: those of ``--segment`` are no predictions of a test."""

    def iterdir(self):
        """Yield the files of a folder but the predictions of ``--segment``."""
        return (path for path in super().iterdir() if not uncertainty.SEGMENTED.search(path.name))


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
        results = original(view, path_output, suffixes, eval_params)
        context = current_context()
        if inter_rater.wants_evaluation(context):
            results = pandas.DataFrame(results).join(inter_rater.evaluate(bids_df, context))
            with atomic_path(Path(path_output, "results_eval", "evaluation_3Dmetrics.csv"), overwrite=True) as target:
                results.to_csv(target)
        return results

    return wrapped


def with_reference_labels(bids_df):
    """Return a copy of the table of files with the reference labels in the place of the raters' masks.

    Returns:
        (RaterBidsDataframe, list of str): The copy, and the suffix of the reference label per class.
    """
    method = settings_from_config(current_context()).reference
    reference = FusedLabels(bids_df.fused_folder, bids_df.nested, method)
    files = [path for suffix in reference.suffixes for path in sorted(reference.folder.glob(f"*{suffix}.nii.gz"))]
    labels = pandas.DataFrame({"path": [str(path) for path in files], "filename": [path.name for path in files]})
    view = copy.copy(bids_df)
    images = bids_df.df[~bids_df.is_label()]
    view.df = pandas.concat([images, labels], ignore_index=True)
    view.get_deriv_fnames = lambda: labels["filename"].to_list()
    return view, reference.suffixes
