"""Targets at the network: the raters' label maps, resampled and augmented each for itself, and what is made of them."""

from dataclasses import dataclass

import torch

# shares that differ by less are tied
_TIE = 1e-9


@dataclass(frozen=True)
class CaseRaters:
    """What is known about the raters of one case.

    Attributes:
        present (Tensor): ``(R,)`` bool, who marked it.
        log_prior (Tensor): ``(K,)`` float64, STAPLE's prior of each label, background first.
        log_confusion (Tensor): ``(R, K, K)`` float64, log P(rater says j | truth is k); 0 for absent raters.
    """

    present: torch.Tensor
    log_prior: torch.Tensor
    log_confusion: torch.Tensor


def one_hot(labels: torch.Tensor, n_labels: int) -> torch.Tensor:
    """Return ``(B, K, *spatial)`` float64 of labels ``(B, *spatial)``."""
    return torch.stack([labels == label for label in range(n_labels)], dim=1).double()


def shares(votes: torch.Tensor, present: torch.Tensor, n_labels: int) -> torch.Tensor:
    """Return the share of votes of each label.

    Args:
        votes (Tensor): ``(B, R, *spatial)`` integer labels.
        present (Tensor): ``(B, R)`` bool; at least one per image.
        n_labels (int): K, background included.

    Returns:
        Tensor: ``(B, K, *spatial)`` float64 in [0, 1], summing to 1.
    """
    counted = present.reshape(*present.shape, *[1] * (votes.ndim - 2))
    counts = torch.stack([((votes == label) & counted).sum(dim=1) for label in range(n_labels)], dim=1)
    return counts.double() / counted.sum(dim=1, keepdim=True)


def staple_posterior(votes: torch.Tensor, cases: list[CaseRaters]) -> torch.Tensor:
    """Return STAPLE's posterior of each label, from the performance that it estimated on the whole image.

    Args:
        votes (Tensor): ``(B, R, *spatial)`` integer labels.
        cases (list of CaseRaters): One per image.

    Returns:
        Tensor: ``(B, K, *spatial)`` float64 in [0, 1]; on the image's own voxels what `fusion.staple` gives.
    """
    posteriors = []
    for of_case, case in zip(votes, cases, strict=True):
        log_posterior = case.log_prior.to(votes.device).expand(*of_case.shape[1:], -1)
        for rater in torch.nonzero(case.present).flatten().tolist():
            log_posterior = log_posterior + case.log_confusion[rater].to(votes.device)[of_case[rater].long()]
        posteriors.append(torch.softmax(log_posterior, dim=-1).movedim(-1, 0))
    return torch.stack(posteriors)


def most_probable(probabilities: torch.Tensor) -> torch.Tensor:
    """Return the label of the largest probability ``(B, *spatial)``, the lowest of equal ones."""
    order = torch.arange(probabilities.shape[1], device=probabilities.device, dtype=torch.float64)
    return (probabilities.double() - _TIE * order.reshape(-1, *[1] * (probabilities.ndim - 2))).argmax(dim=1)


def more_than_half(probabilities: torch.Tensor) -> torch.Tensor:
    """Return the foreground label above one half ``(B, *spatial)``, background where there is none."""
    largest, label = probabilities[:, 1:].max(dim=1)
    return torch.where(largest > 0.5 + _TIE, label + 1, 0)


def make_target(
    fusion: str, votes: torch.Tensor, cases: list[CaseRaters], n_labels: int, drawn: list[int], *, hard: bool
) -> torch.Tensor:
    """Make the target of a batch.

    Args:
        fusion (str): Key of `names.FUSIONS`.
        votes (Tensor): ``(B, R, *spatial)`` integer labels.
        cases (list of CaseRaters): One per image.
        n_labels (int): K, background included.
        drawn (list of int): The rater drawn for each image; used by ``Random`` only.
        hard (bool): Return labels, not probabilities.

    Returns:
        Tensor: ``(B, 1, *spatial)`` labels in the dtype of ``votes``, or ``(B, K, *spatial)`` float32 probabilities.
    """
    if fusion == "Random":
        labels = torch.stack([of_case[rater] for of_case, rater in zip(votes, drawn, strict=True)])
        probabilities = None if hard else one_hot(labels, n_labels)
    elif fusion == "Staple":
        probabilities = staple_posterior(votes, cases)
        labels = most_probable(probabilities) if hard else None
    else:
        present = torch.stack([case.present for case in cases]).to(votes.device)
        probabilities = shares(votes, present, n_labels)
        # the average is cut at one half, as in ivadomed; the majority needs no half
        labels = more_than_half(probabilities) if fusion == "Average" and hard else most_probable(probabilities)
        if fusion == "Majority" and not hard:
            probabilities = one_hot(labels, n_labels)
    return labels[:, None].to(votes.dtype) if hard else probabilities.float()
