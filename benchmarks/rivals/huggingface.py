"""`LlamaForCausalLM` of Hugging Face on torch, trained by AdamW: `python -m
benchmarks.rivals.huggingface`.

Needs benchmarks/requirements.txt. Rows are plain causal text, which is easier than rows of several
segments. Sizes are those of the shape, so that FLOPs a token are equal.
"""

from collections.abc import Callable
import os

import torch
import transformers

from benchmarks.rivals import turns
from benchmarks.rivals.shape import Shape


def training(arguments: str) -> Callable[[], None]:
  """`shape.updates` updates of a shape."""
  shape = Shape.loads(arguments)
  torch.set_num_threads(os.cpu_count())
  torch.manual_seed(0)
  model = transformers.LlamaForCausalLM(
    transformers.LlamaConfig(
      vocab_size=shape.vocabulary,
      hidden_size=shape.width,
      intermediate_size=shape.mlp_width,
      num_hidden_layers=shape.layers,
      num_attention_heads=shape.heads,
      num_key_value_heads=shape.kv_heads,
      head_dim=shape.head_dim,
      max_position_embeddings=shape.row_length,
      tie_word_embeddings=False,
      use_cache=False,
      attn_implementation='sdpa',
    )
  )
  optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, betas=(0.9, 0.98), weight_decay=0.05)
  size = (shape.updates, shape.rows, shape.row_length)
  batches = torch.randint(0, shape.vocabulary, size)

  def work() -> None:
    for tokens in batches:
      optimizer.zero_grad()
      model(input_ids=tokens, labels=tokens).loss.backward()
      torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
      optimizer.step()

  return work


if __name__ == '__main__':
  turns.serve(training)
