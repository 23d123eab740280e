"""`torchrun … -m jepa_ros.training BAGS --output FOLDER`: `jepa-ros train`, one process of many."""
import os
import sys

from jepa_ros.cli.main import main

if __name__ == '__main__':
    # before PyTorch is loaded: DDP warns that it looks for unused parameters, on each rank and in a paragraph
    os.environ.setdefault('TORCH_CPP_LOG_LEVEL', 'ERROR')
    sys.exit(main(['train', *sys.argv[1:]]))
