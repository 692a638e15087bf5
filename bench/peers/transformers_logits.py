"""For pretrained.ts: logits that transformers and PEFT compute from its folders, as files of float32; and a change that PEFT makes."""
import json
import sys
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import AutoModelForCausalLM

folder, count = Path(sys.argv[1]), int(sys.argv[2])
ids = torch.tensor([json.loads((folder / "ids.json").read_text())])


def write(model, at, what):
    with torch.no_grad():
        model.eval()(ids).logits.float().numpy().tofile(at / f"{what}.f32")


def base(at):
    return AutoModelForCausalLM.from_pretrained(at / "model", dtype=torch.float32, attn_implementation="eager")


for i in range(count):
    at = folder / str(i)
    write(base(at), at, "plain")
    for kind in ["lora", "dora"]:
        changed = PeftModel.from_pretrained(base(at), at / kind)
        write(changed, at, kind)
        write(changed.merge_and_unload(), at, f"{kind} merged")
    model = base(at)
    conv = model.config.model_type in ("gpt2", "openai-gpt")
    names = ["c_attn", "mlp.c_fc"] if conv else ["q_proj", "v_proj", "down_proj"]
    torch.manual_seed(i)
    made = get_peft_model(model, LoraConfig(r=3, lora_alpha=5, target_modules=names, init_lora_weights=False, fan_in_fan_out=conv))
    write(made, at, "made")
    made.save_pretrained(at / "made")
