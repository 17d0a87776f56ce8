"""Transfer Advisor: measures your labelled images and says which way of transfer learning fits them.

>>> import advisor
>>> advice = advisor.recommend("sklearn:digits")
>>> advice.quadrant.similarity
'low'
>>> finished = advisor.run("sklearn:digits", recipe="feature_extraction", output="runs/digits")
"""

from advisor.api import recommend, run
from advisor.system.devices import quiet_tensorflow

__all__ = ["recommend", "run"]

quiet_tensorflow()
