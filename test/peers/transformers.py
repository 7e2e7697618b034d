#!/usr/bin/env python3
"""Hugging Face Transformers as a peer: the same dimensions, the same plan, the same card. Not part of the product.

    bench run decode --export-plan plan.jsonl ...           # the plan, one request a line
    python3 test/peers/transformers.py --plan plan.jsonl --mode static --batch 16 --out hf-static.json
    python3 test/peers/transformers.py --plan plan.jsonl --mode continuous --concurrency 16 --out hf-cb.json
    bench import hf-static.json --into results/<id>

static      generate() in left-padded batches of --batch requests in plan order; a batch ends with its longest member.
continuous  Transformers' continuous batching (paged attention) with --concurrency requests in flight.

Weights are random, of the dimensions of --preset: timing is that of the real model, the text is not. Each token's time is taken on
CLOCK_MONOTONIC as the harness does; the result file holds one record per request in the harness's own form.
"""
import argparse
import json
import os
import sys
import time

# This file is named after the library it runs: keep its own folder off the path, or it would import itself.
sys.path = [path for path in sys.path if os.path.realpath(path or ".") != os.path.dirname(os.path.realpath(__file__))]

import torch
import transformers
from transformers import GenerationConfig, LlamaConfig, LlamaForCausalLM
from transformers.generation import StoppingCriteria, StoppingCriteriaList

PRESETS = {
    "llama-3-8b": dict(vocab_size=128256, hidden_size=4096, intermediate_size=14336, num_hidden_layers=32,
                       num_attention_heads=32, num_key_value_heads=8, rope_theta=500000.0, max_position_embeddings=8192),
    "smollm2-135m": dict(vocab_size=49152, hidden_size=576, intermediate_size=1536, num_hidden_layers=30,
                         num_attention_heads=9, num_key_value_heads=3, rope_theta=100000.0, max_position_embeddings=8192,
                         tie_word_embeddings=True),
}


def main():
    flags = parse_flags()
    rows = [json.loads(line) for line in open(flags.plan) if line.strip()]
    rows = [row for row in rows if row.get("phase") == "measure" and row.get("promptIds")]
    if flags.limit:
        rows = rows[: flags.limit]
    if not rows:
        sys.exit("the plan holds no measured row with promptIds: export it with prompts of kind ids")
    started = time.monotonic()
    model = load_model(flags.preset, flags.device)
    say(f"model built in {time.monotonic() - started:.1f} s")
    run = run_static if flags.mode == "static" else run_continuous
    start_ns, records = run(model, rows, flags)
    end_ns = time.monotonic_ns()
    device = torch.cuda.get_device_name(0) if flags.device == "cuda" else "CPU"
    name = "hf-static" if flags.mode == "static" else "hf-continuous"
    tokens = sum(record["counted"] for record in records)
    json.dump(dict(
        schema="pagedbench/peer@1",
        target=dict(name=name, kind="external", origin="in-process", model=flags.preset,
                    engine=f"transformers {transformers.__version__} {flags.mode}, torch {torch.__version__}",
                    backend=flags.device, device=device, dtype="bf16", weights="random (torch)", weightsSha256=None,
                    maxModelLen=model.config.max_position_embeddings, kvBytes=None, blockSize=None,
                    options=dict(batch=flags.batch, concurrency=flags.concurrency, attention=model.config._attn_implementation),
                    decodeWeightBytes=None, kvBytesPerToken=None, flopsPerToken=None, tokenSource="engine ids", startupSecs=None),
        startNs=start_ns, endNs=end_ns, measureStartNs=start_ns, records=records), open(flags.out, "w"))
    print(f"{name}: {len(records)} requests, {tokens} output tokens in {(end_ns - start_ns) / 1e9:.1f} s = "
          f"{tokens / ((end_ns - start_ns) / 1e9):.1f} tok/s on {device}", file=sys.stderr)


def parse_flags():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--plan", required=True)
    parser.add_argument("--mode", choices=["static", "continuous"], required=True)
    parser.add_argument("--preset", choices=sorted(PRESETS), default="llama-3-8b")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--concurrency", type=int, default=16)
    parser.add_argument("--limit", type=int, default=0, help="only the first N measured requests")
    parser.add_argument("--device", default="cuda", help="cpu: to try this script without a GPU")
    parser.add_argument("--out", required=True)
    return parser.parse_args()


def load_model(preset, device):
    config = LlamaConfig(**PRESETS[preset])
    torch.manual_seed(0)
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        model = LlamaForCausalLM(config)
    return model.eval()


def say(text):
    print(text, file=sys.stderr, flush=True)


def warm_rows(rows):
    """The first requests, cut to 8 tokens: kernels are compiled and chosen, memory is taken."""
    return [dict(row, outputTokens=8) for row in rows[:2]]


class Clock(StoppingCriteria):
    """Never stops; takes the time of every step."""

    def __init__(self):
        self.step_ns = []

    def __call__(self, input_ids, scores, **kwargs):
        if input_ids.is_cuda:
            torch.cuda.synchronize()
        self.step_ns.append(time.monotonic_ns())
        return torch.zeros(input_ids.shape[0], dtype=torch.bool, device=input_ids.device)


@torch.inference_mode()
def run_static(model, rows, flags):
    static_batches(model, warm_rows(rows), flags)
    start_ns = time.monotonic_ns()
    return start_ns, static_batches(model, rows, flags)


def static_batches(model, rows, flags):
    records = []
    for first in range(0, len(rows), flags.batch):
        batch = rows[first: first + flags.batch]
        longest = max(len(row["promptIds"]) for row in batch)
        ids = torch.zeros(len(batch), longest, dtype=torch.long)
        mask = torch.zeros(len(batch), longest, dtype=torch.long)
        for index, row in enumerate(batch):
            ids[index, longest - len(row["promptIds"]):] = torch.tensor(row["promptIds"])
            mask[index, longest - len(row["promptIds"]):] = 1
        clock = Clock()
        sent_ns = time.monotonic_ns()
        model.generate(ids.to(flags.device), attention_mask=mask.to(flags.device), do_sample=False, pad_token_id=0, eos_token_id=None,
                       max_new_tokens=max(row["outputTokens"] for row in batch), stopping_criteria=StoppingCriteriaList([clock]))
        for row in batch:
            records.append(record_of(row, sent_ns, clock.step_ns[: row["outputTokens"]]))
        say(f"static: {len(records)} of {len(rows)} requests")
    return records


@torch.no_grad()  # not inference_mode: the manager's own thread resets tensors made here
def run_continuous(model, rows, flags):
    generation = GenerationConfig(max_new_tokens=max(row["outputTokens"] for row in rows), do_sample=False, eos_token_id=-1, pad_token_id=0)
    with model.continuous_batching_context_manager(generation_config=generation) as manager:
        continuous_wave(manager, warm_rows(rows), flags, "warm")
        say("continuous: warm")
        start_ns = time.monotonic_ns()
        return start_ns, continuous_wave(manager, rows, flags, "row")


def continuous_wave(manager, rows, flags, prefix):
    """A closed loop of --concurrency requests. The manager takes a while to be ready: the first answer may take two minutes."""
    sent, times, done, waiting = {}, {}, set(), list(range(len(rows)))

    def send():
        index = waiting.pop(0)
        sent[index] = time.monotonic_ns()
        times[index] = []
        manager.add_request(rows[index]["promptIds"], request_id=f"{prefix}-{index}", max_new_tokens=rows[index]["outputTokens"], streaming=True)

    for _ in range(min(flags.concurrency, len(waiting))):
        send()
    while len(done) < len(rows):
        output = manager.get_result(timeout=120)
        if output is None:
            sys.exit("continuous batching gave no result in 120 s")
        index, now = int(output.request_id.split("-")[1]), time.monotonic_ns()
        if output.error:
            sys.exit(f"continuous batching failed on request {index}: {output.error}")
        times[index].extend([now] * (len(output.generated_tokens) - len(times[index])))
        if output.is_finished() and index not in done:
            done.add(index)
            if len(done) % 16 == 0:
                say(f"continuous: {len(done)} of {len(rows)} requests")
            if waiting:
                send()
    return [record_of(row, sent[index], times[index]) for index, row in enumerate(rows)]


def record_of(row, sent_ns, token_ns):
    return dict(index=row["index"], phase="measure", requestId=f"peer-{row['index']}", worker=0, outcome="ok", detail=None, httpStatus=None,
                finishReason="length", freshSocket=False, inputTokens=row["inputTokens"], outputTokens=row["outputTokens"],
                intendedNs=sent_ns, dequeuedNs=sent_ns, sentNs=sent_ns, bodySentNs=None, headersNs=None, firstByteNs=None,
                firstTokenNs=token_ns[0], firstOutputNs=token_ns[0], lastTokenNs=token_ns[-1], doneNs=token_ns[-1],
                readNs=[t - sent_ns for t in token_ns], readTokens=[1] * len(token_ns), readFrames=[1] * len(token_ns),
                counted=len(token_ns), usagePromptTokens=len(row["promptIds"]), usageCompletionTokens=len(token_ns), cachedTokens=None,
                engineTokens=len(token_ns), frames=len(token_ns), bytes=0, tokenIds=None, text=None)


if __name__ == "__main__":
    main()
