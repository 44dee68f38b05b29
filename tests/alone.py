"""A process in which transformers is alone: it loads checkpoints and answers greedily, one JSON line for another.

asked     {"folder": ..., "messages": [[{"text": ...}, {"image": path}, ...], ...], "tokens": 16, "never": [4]}
answered  {"answers": [[token ids], ...], "prompts": [[token ids], ...], "ours": [modules of ours that are loaded]}
"""

import json
import sys
from pathlib import Path

from own_processor import own_inputs, own_processor
from transformers import AutoModelForImageTextToText
from transformers.utils import logging

logging.disable_progress_bar()
for line in sys.stdin:
    asked = json.loads(line)
    folder = Path(asked["folder"])
    model, processor = AutoModelForImageTextToText.from_pretrained(folder).eval(), own_processor(folder)
    prompts, answers = [], []
    for message in asked["messages"]:
        inputs = own_inputs(processor, message)
        written = model.generate(
            **inputs, max_new_tokens=asked["tokens"], do_sample=False, suppress_tokens=asked["never"]
        )
        prompts.append(inputs["input_ids"][0].tolist())
        answers.append(written[0, inputs["input_ids"].shape[1] :].tolist())
    ours = sorted(name for name in sys.modules if name.split(".")[0] == "vergence")
    print(json.dumps({"answers": answers, "prompts": prompts, "ours": ours}), flush=True)
