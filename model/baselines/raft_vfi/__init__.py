"""RAFT-VFI, the practical interpolator of ModelScope: RAFT's flows, refined, at any time.

Name `cv_raft_video-frame-interpolation_practical`; it draws on RAFT (Teed and Deng, ECCV 2020),
QVI (Xu et al., NeurIPS 2019) and VFIformer (Lu et al., CVPR 2022). The published code and weights
are Apache-2.0; this code was written from a description of it.
"""
