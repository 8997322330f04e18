"""The shapes of all tensors that cross a function's border, each named once.

Images are float32 in [0, 1], channels first. A per-class vector is indexed by class id: ``vec[y]``.
"""

from jaxtyping import Bool, Float, Int64, UInt8
from torch import Tensor

Images = Float[Tensor, "batch channels height width"]
Pixels = UInt8[Tensor, "batch height width channels"]
PlanarPixels = UInt8[Tensor, "batch channels height width"]
Features = Float[Tensor, "batch _ _ _"]
Labels = Int64[Tensor, "batch"]
Logits = Float[Tensor, "batch classes"]
Probs = Float[Tensor, "batch classes"]
PerSample = Float[Tensor, "batch"]
Flags = Bool[Tensor, "batch"]
Offsets = Int64[Tensor, "batch"]
PerClass = Float[Tensor, "classes"]
Counts = Int64[Tensor, "classes"]
Scalar = Float[Tensor, ""]
