"""Embedded networks: NAME-xSCALE.npz, the weights, and NAME-xSCALE.json, their card.

`clean` and `compressed` are what `superres.upscale` uses; the others are there for Table 1:
`clean-float`, from which `clean` was made; `proposed`, trained with the report's eq. 2;
`report-float`, the report's network trained as the report says; `srcnn` and `fsrcnn-s`.
"""
