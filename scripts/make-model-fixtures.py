"""Makes test/fixtures/model: what an independent implementation says about the same weights.

Run once, in a virtual environment with torch (CPU), transformers, safetensors and gguf:

    python scripts/make-model-fixtures.py test/fixtures/model [SmolLM2-135M-Instruct.Q4_1.gguf]

Writes
  <name>/                 a tiny random checkpoint as Transformers saves it (bf16 weights, so that f32 and bf16 backends hold the same)
  <name>/expected.json    {"made": how, "tokens": [...], "logits": base64 of f32 [tokens, vocabulary]} from the f32 forward pass
  dequantised.json        random blocks of every GGUF format: base64 of the bytes and of the f32 values by the gguf package
  smollm2.json            (with the GGUF file) tokens and mean negative log-likelihood of two paragraphs, the greedy continuation of
                          a prompt, a rendered chat, by Transformers on the dequantised weights
Everything is seeded: a second run writes the same numbers (up to the libraries' versions, which are recorded).
"""

import base64
import json
import sys
from importlib.metadata import version
from pathlib import Path

import gguf
import numpy
import torch
import transformers
from transformers import AutoModelForCausalLM, AutoTokenizer, LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

MADE = f"transformers {transformers.__version__}, torch {torch.__version__}, gguf {version('gguf')}, CPU, f32"

# Small enough for the repository, odd enough to catch mistakes: GQA ratio 3, tied and untied heads, RoPE scaling, biases.
CHECKPOINTS = {
    "llama-scaled": LlamaConfig(
        vocab_size=320, hidden_size=96, intermediate_size=136, num_hidden_layers=2, num_attention_heads=3,
        num_key_value_heads=1, head_dim=64, max_position_embeddings=512, rms_norm_eps=1e-5, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2,
        rope_parameters={
            "rope_type": "llama3", "rope_theta": 10000.0, "factor": 8.0, "low_freq_factor": 1.0,
            "high_freq_factor": 4.0, "original_max_position_embeddings": 32,
        },
    ),
    "llama-wide": LlamaConfig(
        vocab_size=256, hidden_size=64, intermediate_size=88, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=1, head_dim=128, max_position_embeddings=256, rms_norm_eps=1e-6, tie_word_embeddings=False,
        bos_token_id=1, eos_token_id=[2, 3], rope_parameters={"rope_type": "linear", "rope_theta": 500000.0, "factor": 2.0},
    ),
    "qwen2": Qwen2Config(
        vocab_size=320, hidden_size=128, intermediate_size=144, num_hidden_layers=2, num_attention_heads=6,
        num_key_value_heads=2, head_dim=64, max_position_embeddings=512, rms_norm_eps=1e-6, tie_word_embeddings=True,
        bos_token_id=1, eos_token_id=2, rope_parameters={"rope_type": "default", "rope_theta": 1000000.0},
    ),
}
TOKENS = 70  # more than four blocks of 16

ENGLISH = (
    "The lighthouse stood at the end of a narrow spit of rock, and every evening the keeper climbed its hundred and "
    "twelve steps to light the lamp. In winter the wind came straight off the ice and shook the iron gallery until "
    "it hummed. He had kept a diary for thirty years, in which he wrote down the weather, the ships that passed, and "
    "once in a while a thought about the people he had known before he came to live alone with the sea."
)
CHINESE = (
    "春天来了，山上的雪慢慢融化，小溪里的水越来越多。孩子们放学以后常常跑到河边去玩，有的捡石头，有的看小鱼。"
    "老人们坐在树下喝茶，谈论今年的收成和远方的亲人。村子不大，但是每个人都觉得这里是世界上最安静、最美丽的地方。"
)
PROMPT = "The capital of France is"


def encode(array):
    return base64.b64encode(numpy.ascontiguousarray(array).tobytes()).decode()


def make_checkpoint(folder, config):
    torch.manual_seed(20240607)
    kind = Qwen2ForCausalLM if isinstance(config, Qwen2Config) else LlamaForCausalLM
    model = kind(config)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            scale = 0.1 if parameter.dim() > 1 else 0.3
            parameter.copy_(torch.randn_like(parameter) * scale + (1.0 if "norm" in name else 0.0))
    model.to(torch.bfloat16).save_pretrained(folder)
    model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()
    tokens = torch.randint(0, config.vocab_size, (1, TOKENS), generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        logits = model(tokens).logits[0].float().numpy()
    expected = {"made": MADE, "tokens": tokens[0].tolist(), "logits": encode(logits.astype("<f4"))}
    (folder / "expected.json").write_text(json.dumps(expected) + "\n")


def make_dequantised(path):
    generator = numpy.random.default_rng(11)
    formats = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q4_K", "Q5_K", "Q6_K"]
    scale_at = {"Q6_K": [208]}  # byte offsets of the f16 scales; elsewhere the first two or four bytes
    result = {"made": MADE}
    for name in formats:
        kind = gguf.GGMLQuantizationType[name]
        _, size = gguf.GGML_QUANT_SIZES[kind]
        blocks = generator.integers(0, 256, (8, size), dtype=numpy.uint8)
        two = name in ("Q4_1", "Q5_1", "Q4_K", "Q5_K")
        for at in scale_at.get(name, [0, 2] if two else [0]):
            scales = generator.normal(0, 0.05, 8).astype("<f2")
            blocks[:, at : at + 2] = scales.view(numpy.uint8).reshape(8, 2)
        values = gguf.quants.dequantize(blocks.reshape(-1), kind).astype("<f4")
        result[name] = {"bytes": encode(blocks), "values": encode(values)}
    path.write_text(json.dumps(result) + "\n")


def negative_log_likelihood(model, ids):
    """Mean over ids[1:], each given those before it; no special token is added."""
    with torch.no_grad():
        logits = model(torch.tensor([ids])).logits[0].float()
    return torch.nn.functional.cross_entropy(logits[:-1], torch.tensor(ids[1:])).item()


def make_smollm2(path, file):
    folder, name = str(Path(file).parent), Path(file).name
    tokenizer = AutoTokenizer.from_pretrained(folder, gguf_file=name)
    model = AutoModelForCausalLM.from_pretrained(folder, gguf_file=name, dtype=torch.float32).eval()
    result = {"made": MADE + ", AutoModelForCausalLM.from_pretrained(gguf_file=)", "paragraphs": {}}
    for language, text in {"english": ENGLISH, "chinese": CHINESE}.items():
        ids = tokenizer.encode(text, add_special_tokens=False)
        result["paragraphs"][language] = {"text": text, "tokens": ids, "meanNll": negative_log_likelihood(model, ids)}
    prompt = tokenizer.encode(PROMPT, add_special_tokens=False)
    output = model.generate(torch.tensor([prompt]), max_new_tokens=24, do_sample=False)[0].tolist()
    result["greedy"] = {"prompt": PROMPT, "tokens": prompt, "continuation": output[len(prompt) :]}
    messages = [{"role": "user", "content": "Name three colours."}]
    result["chat"] = {
        "messages": messages,
        "text": tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True),
    }
    path.write_text(json.dumps(result, ensure_ascii=False) + "\n")


def main():
    target = Path(sys.argv[1])
    target.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for name, config in CHECKPOINTS.items():
        folder = target / name
        folder.mkdir(exist_ok=True)
        make_checkpoint(folder, config)
    make_dequantised(target / "dequantised.json")
    if len(sys.argv) > 2:
        make_smollm2(target / "smollm2.json", sys.argv[2])


main()
