"""Which devices torch can use here, as JSON: `python -m stages.doctor`. Not a stage; `absld doctor` asks it."""

import json

import torch

if __name__ == "__main__":
    devices = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
    print(
        json.dumps(
            {"cuda": devices, "threads": torch.get_num_threads(), "built_for_cuda": torch.version.cuda is not None}
        )
    )
