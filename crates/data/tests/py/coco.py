"""pycocotools on a data set and its results: DATASET RESULTS. Perfect detections must give AP 1."""
import sys

from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

truth = COCO(sys.argv[1])
e = COCOeval(truth, truth.loadRes(sys.argv[2]), "bbox")
e.evaluate()
e.accumulate()
e.summarize()
assert abs(e.stats[0] - 1) < 1e-9, e.stats
