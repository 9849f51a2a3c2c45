"""The name that `hosts.ivadomed2` had before, which docs mentioned; works for one version."""

import warnings

from ivadomed_labelfusion.hosts import ivadomed2

warnings.warn(
    "ivadomed_labelfusion.host is called ivadomed_labelfusion.hosts.ivadomed2 now.", DeprecationWarning, stacklevel=2
)
# modules below the old name are those files
__path__ = ivadomed2.__path__
