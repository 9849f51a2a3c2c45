"""``ivadomed --segment`` for configurations with several raters and with channels told apart by their entities."""

import json
from pathlib import Path

import nibabel
from ivadomed import config_manager as imed_config_manager
from ivadomed import inference as imed_inference
from tqdm import tqdm

from ivadomed_labelfusion.config.check import is_nested
from ivadomed_labelfusion.data.entities import stem
from ivadomed_labelfusion.hosts.ivadomed2 import film
from ivadomed_labelfusion.hosts.ivadomed2.dataframe import RaterBidsDataframe, complete_acquisitions


def run_segment_command(original):
    """Wrap ``ivadomed.main.run_segment_command``."""

    def wrapped(context, model_params, no_patch, overlap_2d):
        loader = context["loader_parameters"]
        contrasts = loader["contrast_params"]["testing"]
        own = is_nested(loader["target_suffix"]) or any("_" in contrast for contrast in contrasts)
        if not (own and loader.get("multichannel")):
            if film.uses_film(model_params) and model_params["metadata"] == "contrasts":
                # the column of the table of files that holds the contrast
                model_params = {**model_params, "metadata": "suffix"}
            return original(context, model_params, no_patch, overlap_2d)
        return _segment_multichannel(context, model_params, no_patch, overlap_2d)

    return wrapped


def _segment_multichannel(context, model_params, no_patch, overlap_2d):
    loader = context["loader_parameters"]
    contrasts = loader["contrast_params"]["testing"]
    loader = {**loader, "contrast_params": {**loader["contrast_params"], "contrast_lst": contrasts}}
    bids_df = RaterBidsDataframe(loader, context["path_output"], derivatives=False)
    model_folder = _model_folder(context)
    options = {}
    if no_patch:
        options["no_patch"] = no_patch
    if overlap_2d:
        options["overlap_2D"] = overlap_2d
    output = Path(context["path_output"], "pred_masks")
    output.mkdir(parents=True, exist_ok=True)
    paths = dict(zip(bids_df.df["filename"], bids_df.df["path"], strict=True))
    acquisitions = complete_acquisitions(sorted(paths), contrasts)
    for filenames in tqdm(acquisitions.values(), desc="Segmenting"):
        images = [paths[filename] for filename in filenames]
        if film.uses_film(model_params):
            row = bids_df.df[bids_df.df["filename"] == filenames[0]].iloc[0]
            options["metadata"] = row["suffix" if model_params["metadata"] == "contrasts" else model_params["metadata"]]
        predictions, _ = imed_inference.segment_volume(
            str(model_folder), fname_images=images, gpu_id=context["gpu_ids"][0], options=options
        )
        for index, prediction in enumerate(predictions):
            nibabel.save(prediction, output / f"{stem(images[0])}_class-{index}_pred.nii.gz")


def _model_folder(context):
    """Write the postprocessing of this run into the packaged model, as ivadomed does; return the model's folder."""
    folder = Path(context["path_output"], context["model_name"])
    path = folder / f"{context['model_name']}.json"
    config = imed_config_manager.load_json(str(path))
    config["postprocessing"] = context["postprocessing"]
    path.write_text(json.dumps(config, indent=4), encoding="utf-8")
    return folder
