#!/usr/bin/env python3
"""Hugging Face Transformers on the random weights of kernels/random.h, against the logits that logits.mjs wrote.

    python3 logits.py DIR [--device cuda] [--json FILE]

Each sequence is run whole, once in bf16 and once in f32 from the same bf16 weights (the truth for both). Printed per scenario, over the recorded
positions: relative error |ours - f32| / |f32| (mean, largest), the largest against their bf16 and of their bf16, and top-1 agreement with the f32 reference: of all positions, and of those
whose two top logits are further apart than TOLERANCE times the logits' root mean square - closer ones are decided by rounding.
The gate is the relative error of a scenario's logits as one tensor, |ours - f32| / |f32| < 2e-2, no row of ours further off than 1.1 times the
worst row of Transformers' own bf16, and 99 % agreement over all scenarios together (a scenario alone has too few rows for one per cent).
"""
import argparse
import json
import math
import sys
import time

import numpy as np
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

LIMIT = 2e-2
# Two logits, each off by at most LIMIT of the root mean square in opposite directions.
TOLERANCE = 2 * LIMIT
MASK = 0xFFFFFFFF
CHUNK = 1 << 26


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--json")
    arguments = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = False
    started = time.time()
    index = json.load(open(f"{arguments.folder}/index.json"))
    vocabulary = index["config"]["vocabSize"]
    ours = torch.from_numpy(np.fromfile(f"{arguments.folder}/logits.f32", dtype=np.float32).reshape(-1, vocabulary))
    assert len(ours) == len(index["rows"]), f"{len(ours)} rows of logits, {len(index['rows'])} in the index"
    if not bool(torch.isfinite(ours).all()):
        sys.exit("FAILED: a logit of ours is not a finite number")
    with torch.inference_mode():
        rounded = index["dtype"] == "bf16"
        model = build(index, arguments.device, torch.bfloat16 if rounded else torch.float32)
        print(f"model built after {time.time() - started:.1f} s")
        theirs = reference(model, index) if rounded else None
        exact = reference(model.float(), index)
        print(f"{len(index['sequences'])} sequences run after {time.time() - started:.1f} s")
        failed = report(index, ours, theirs, exact, arguments.json)
    sys.exit(1 if failed else 0)


def build(index, device, dtype):
    """The model with every matrix in the order and with the seed and scale of engines/model/random-weights.ts."""
    config, seed = index["config"], index["seed"]
    torch.set_default_dtype(dtype)
    with torch.device(device):
        model = (Qwen2ForCausalLM if config["qkvBias"] else LlamaForCausalLM)(transformers_config(config))
    torch.set_default_dtype(torch.float32)
    model.eval()
    check_frequencies(model, config)
    scale, residual = 0.02, 0.5 * 0.02 / math.sqrt(2 * config["layers"])
    stream = 0

    def stream_seed():
        nonlocal stream
        stream += 1
        return ((seed + 1) * 0x9E3779B1 ^ stream * 0x85EBCA6B) & MASK

    def fill(parts, scale):
        matrix = random_matrix(sum(part.shape[0] for part in parts), parts[0].shape[1], stream_seed(), scale, device, dtype)
        at = 0
        for part in parts:
            part.copy_(matrix[at : at + part.shape[0]])
            at += part.shape[0]

    fill([model.model.embed_tokens.weight], 1.0)
    for layer in model.model.layers:
        attention, mlp = layer.self_attn, layer.mlp
        projections = [attention.q_proj, attention.k_proj, attention.v_proj]
        fill([projection.weight for projection in projections], scale)
        if config["qkvBias"]:
            bias = random_vector(sum(projection.bias.shape[0] for projection in projections), stream_seed()).to(device, dtype)
            for projection, part in zip(projections, bias.split([projection.bias.shape[0] for projection in projections])):
                projection.bias.copy_(part)
        fill([attention.o_proj.weight], residual)
        fill([mlp.gate_proj.weight, mlp.up_proj.weight], scale)
        fill([mlp.down_proj.weight], residual)
    fill([model.lm_head.weight], scale)
    return model


def transformers_config(config):
    rope = {"rope_type": "default", "rope_theta": float(config["ropeTheta"])}
    scaling = config["ropeScaling"]
    if scaling is not None:
        assert scaling["type"] == "llama3", scaling
        rope |= {"rope_type": "llama3", "factor": float(scaling["factor"]), "low_freq_factor": float(scaling["lowFreqFactor"])}
        rope |= {"high_freq_factor": float(scaling["highFreqFactor"]), "original_max_position_embeddings": scaling["originalMaxPositions"]}
    return (Qwen2Config if config["qkvBias"] else LlamaConfig)(
        vocab_size=config["vocabSize"],
        hidden_size=config["hiddenSize"],
        intermediate_size=config["intermediateSize"],
        num_hidden_layers=config["layers"],
        num_attention_heads=config["heads"],
        num_key_value_heads=config["kvHeads"],
        head_dim=config["headDim"],
        max_position_embeddings=config["maxPositions"],
        rms_norm_eps=config["rmsNormEps"],
        tie_word_embeddings=False,
        rope_parameters=rope,
        attn_implementation="sdpa",
        use_cache=False,
    )


def check_frequencies(model, config):
    """That this version of Transformers has understood the RoPE parameters."""
    got = model.model.rotary_emb.inv_freq.float().cpu()
    plain = config["ropeTheta"] ** (-2 * torch.arange(config["headDim"] // 2).double() / config["headDim"])
    unscaled = 1 if config["ropeScaling"] is None else 4
    assert torch.allclose(got[: len(got) // unscaled].double(), plain[: len(got) // unscaled], rtol=1e-5), "RoPE frequencies differ"


def mix32(x):
    x = x ^ (x >> 16)
    x = (x * 0x7FEB352D) & MASK
    x = x ^ (x >> 15)
    x = (x * 0x846CA68B) & MASK
    return x ^ (x >> 16)


def random_matrix(rows, columns, seed, scale, device, dtype):
    """kn_weight_random: uniform with standard deviation `scale`, element i from hash32(seed, i); uint32 arithmetic in int64."""
    matrix = torch.empty(rows * columns, dtype=dtype, device=device)
    amplitude = float(np.float32(scale) * np.float32(1.7320508))
    key = mix32((seed + 0x9E3779B9) & MASK)
    for start in range(0, rows * columns, CHUNK):
        count = min(CHUNK, rows * columns - start)
        i = torch.arange(start, start + count, dtype=torch.int64, device=device)
        low = mix32((i & MASK) ^ key)
        hashed = mix32((low + (i >> 32) * 0x85EBCA6B + seed) & MASK)
        uniform = (hashed >> 8).to(torch.float32) * (1.0 / 16777216.0)
        matrix[start : start + count] = (amplitude * (2.0 * uniform - 1.0)).to(dtype)
    return matrix.view(rows, columns)


def random_vector(length, seed):
    """randomVector of random-weights.ts: 32-bit xorshift."""
    state, values = seed or 1, []
    for _ in range(length):
        state ^= state << 13 & MASK
        state ^= state >> 17
        state ^= state << 5 & MASK
        values.append(0.02 * math.sqrt(3) * (state / 2**32 * 2 - 1))
    return torch.tensor(values, dtype=torch.float64).float()


def reference(model, index):
    """f32 [rows, V]: the logits behind the token before each recorded position. Each sequence runs once, alone."""
    rows_of = {}
    for row, entry in enumerate(index["rows"]):
        rows_of.setdefault(entry["sequence"], []).append((row, entry["position"] - 1))
    out = torch.empty(len(index["rows"]), index["config"]["vocabSize"])
    for sequence, rows in rows_of.items():
        ids = torch.tensor([index["sequences"][sequence]], device=model.device)
        hidden = model.model(input_ids=ids).last_hidden_state[0, [position for _, position in rows]]
        out[[row for row, _ in rows]] = model.lm_head(hidden).float().cpu()
    return out


def report(index, ours, theirs, exact, path):
    names = [scenario["name"] for scenario in index["scenarios"]]
    summary, failed = [], False
    print(f"{'scenario':28} {'rows':>5} {'error':>11} {'largest':>8} {'vs bf16':>8} {'theirs':>8}   top-1  decided")
    for name in [*names, "all"]:
        rows = [row for row, entry in enumerate(index["rows"]) if name in (entry["scenario"], "all")]
        entry = {"scenario": name, "rows": len(rows), **measure(ours[rows], exact[rows])}
        entry["vsBf16"] = float(error(ours[rows], theirs[rows]).max()) if theirs is not None else entry["errorMax"]
        entry["theirs"] = measure(theirs[rows], exact[rows]) if theirs is not None else None
        entry["error"] = float((ours[rows] - exact[rows]).norm() / exact[rows].norm())
        worst = 1.1 * float(error(theirs, exact).max()) if theirs is not None else LIMIT
        bad = not (entry["error"] < LIMIT and entry["errorMax"] < worst and (entry["agreement"] >= 0.99 or name != "all"))
        failed |= bad
        summary.append(entry)
        theirs_max = entry["theirs"]["errorMax"] if entry["theirs"] else 0.0
        print(f"{name:28} {len(rows):5} {entry['error']:11.2e} {entry['errorMax']:8.1e} {entry['vsBf16']:8.1e} {theirs_max:8.1e}"
              f" {entry['agreementRaw']:7.2%} {entry['agreement']:7.2%} of {entry['decided']}{'   FAILED' if bad else ''}")
    all_rows = summary[-1]
    if all_rows["theirs"]:
        print(f"Transformers' own bf16 against its f32: top-1 {all_rows['theirs']['agreementRaw']:.2%} of all positions, {all_rows['theirs']['agreement']:.2%} of those decided")
    print(f"decided: the two top logits of the f32 reference differ by more than {TOLERANCE} of the logits' root mean square")
    if path:
        json.dump({"device": index["device"], "config": index["config"], "limit": LIMIT, "tolerance": TOLERANCE, "scenarios": summary}, open(path, "w"))
    print("FAILED" if failed else "all within tolerance")
    return failed


def error(got, expected):
    return (got - expected).norm(dim=1) / expected.norm(dim=1)


def measure(got, exact):
    errors = error(got, exact)
    top = exact.topk(2, dim=1)
    scale = exact.square().mean(dim=1).sqrt()
    decided = top.values[:, 0] - top.values[:, 1] > TOLERANCE * scale
    same = got.argmax(dim=1) == top.indices[:, 0]
    return {
        "errorMean": float(errors.mean()),
        "errorMax": float(errors.max()),
        "agreementRaw": float(same.float().mean()),
        "agreement": float(same[decided].float().mean()) if bool(decided.any()) else 1.0,
        "decided": int(decided.sum()),
    }


if __name__ == "__main__":
    main()
