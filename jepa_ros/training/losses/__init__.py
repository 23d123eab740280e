"""Losses by name (LeCun §4.3–4.5; Dawid §4, §6.1). `base.py`: what they share; `parallel.py`: many processes as one."""
from jepa_ros.training.losses.barlow import BarlowTwins
from jepa_ros.training.losses.base import build, Embedded, Loss, LOSSES, Losses, LossSettings, parse, Sizes
from jepa_ros.training.losses.contrastive import Hinge, InfoNCE
from jepa_ros.training.losses.inverse import Inverse
from jepa_ros.training.losses.prediction import Prediction
from jepa_ros.training.losses.readouts import Readouts
from jepa_ros.training.losses.sigreg import SIGReg
from jepa_ros.training.losses.smoothness import Smoothness
from jepa_ros.training.losses.vicreg import VICReg

__all__ = ['BarlowTwins', 'Embedded', 'Hinge', 'InfoNCE', 'Inverse', 'LOSSES', 'Loss', 'LossSettings', 'Losses',
           'Prediction', 'Readouts', 'SIGReg', 'Sizes', 'Smoothness', 'VICReg', 'build', 'parse']
