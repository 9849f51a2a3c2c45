#!/bin/sh
# The study in docs/results, from nothing: both phantoms, six candidates and the conventional ensemble.
# Interrupted? Run it again: finished models are kept.
set -eu
export OMP_NUM_THREADS=1

[ -d raw/scgm ] || ivadomed_labelfusion phantom scgm raw/scgm --subjects 20 --size small --seed 1
[ -d data/SCGM ] || ivadomed_labelfusion prepare scgm raw/scgm data/SCGM
[ -d raw/msseg2016 ] || ivadomed_labelfusion phantom msseg2016 raw/msseg2016 --subjects 15 --size small --seed 1
[ -d data/MSSEG2016 ] || ivadomed_labelfusion prepare msseg2016 raw/msseg2016 data/MSSEG2016

ivadomed_labelfusion study run --bids data/SCGM --output study_scgm --template scgm --splits 5 --cores 2 \
    --candidates all,conv_ensemble --epochs 50 --filters 8 --depth 3 --batch-size 8 \
    --set training_parameters.scheduler.initial_lr=0.005 \
    --set default_model.dropout_rate=0.1 \
    --set transformation.Resample.hspace=0.25 --set transformation.Resample.wspace=0.25 \
    --set 'transformation.CenterCrop.size=[80,64]'

ivadomed_labelfusion study run --bids data/MSSEG2016 --output study_ms --template ms --splits 5 --cores 2 \
    --candidates all,conv_ensemble --epochs 100 --filters 8 --depth 3 --batch-size 8 \
    --set training_parameters.scheduler.initial_lr=0.002 \
    --set default_model.dropout_rate=0.1 \
    --set transformation.Resample.hspace=2 --set transformation.Resample.wspace=2 \
    --set 'transformation.CenterCrop.size=[72,84]' \
    --set 'loader_parameters.contrast_params.training_validation=["FLAIR","T1w"]' \
    --set 'loader_parameters.contrast_params.testing=["FLAIR","T1w"]'

for dataset in scgm ms; do
    ivadomed_labelfusion study results "study_$dataset" --compare-paper
    ivadomed_labelfusion study claims "study_$dataset"
done
