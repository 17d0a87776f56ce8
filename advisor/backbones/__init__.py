"""Networks for images, by name or by file: `load` gives a `Backbone`.

Each network has a file of its own with its architecture, its row of `advisor backbones` and its loader;
`catalogue` lists these files, and says there how to add one.
"""

from advisor.backbones.backbone import Backbone
from advisor.backbones.catalogue import BUNDLED, load

__all__ = ["BUNDLED", "Backbone", "load"]
