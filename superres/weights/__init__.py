"""Embedded networks: NAME-xSCALE.npz, the weights, and NAME-xSCALE.json, their card.

`clean` and `compressed` are what `superres.upscale` uses; `report-float`, `report` and
`report-compressed` are the report's network, `srcnn` and `fsrcnn-s` what it compares with.
"""
