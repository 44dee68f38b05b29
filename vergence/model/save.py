"""Writing a policy as an ordinary Hugging Face checkpoint that plain `transformers` reads."""

from pathlib import Path

from vergence.model.internvl import write_processor_files
from vergence.model.policy import Policy

_README = """\
---
library_name: transformers
pipeline_tag: image-text-to-text
---
# A vision-language model trained with Vergence

An ordinary checkpoint: no remote code, no `vergence` needed. With torchvision installed, `AutoProcessor` and
`AutoModelForImageTextToText` load it. Without torchvision:

```python
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForImageTextToText, AutoTokenizer

folder, question = ".", {question!r}
model, tokenizer = AutoModelForImageTextToText.from_pretrained(folder), AutoTokenizer.from_pretrained(folder)
pixels = AutoImageProcessor.from_pretrained(folder)(Image.open("picture.png").convert("RGB"), return_tensors="pt")
message = {{"role": "user", "content": [{{"type": "image"}}, {{"type": "text", "text": question}}]}}
prompt = tokenizer.apply_chat_template([message], tokenize=False, add_generation_prompt=True)
tiles = int(pixels["num_patches"][0])
prompt = prompt.replace("<IMG_CONTEXT>", "<img>" + "<IMG_CONTEXT>" * {tokens} * tiles + "</img>")
inputs = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)
answer = model.generate(**inputs, pixel_values=pixels["pixel_values"], max_new_tokens=64, do_sample=False)
print(tokenizer.decode(answer[0, inputs["input_ids"].shape[1]:], skip_special_tokens=True))
```

`AutoImageProcessor` needs transformers 5.18 or newer where torchvision is absent.
"""


def save_policy(policy: Policy, directory: Path, *, example_question: str) -> None:
    """Weights, config, tokenizer with chat template, processors, generation config, and a README that loads them."""
    directory.mkdir(parents=True, exist_ok=True)
    policy.model.save_pretrained(directory)
    policy.model.generation_config.save_pretrained(directory)
    policy.tokenizer.save_pretrained(directory)
    policy.image_processor.save_pretrained(directory)
    write_processor_files(directory, policy.config.image_seq_length)
    (directory / "README.md").write_text(
        _README.format(question=example_question, tokens=policy.config.image_seq_length)
    )
