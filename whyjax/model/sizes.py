"""Model sizes by name, and what a model costs: parameters and FLOPs."""

from whyjax.config import ModelConfig
from whyjax.errors import UserError

# width, layers, heads, key-value heads, head_dim, mlp_width.
# Names are the parameters without embedding and output head. From each to the next parameters and
# MLP grow, and width, depth, heads and batch never fall.
SIZES = {
  '3k': (16, 1, 1, 1, 16, 40),
  '10k': (32, 1, 2, 2, 16, 72),
  '30k': (32, 2, 2, 2, 16, 88),
  '60k': (48, 2, 3, 3, 16, 136),
  '100k': (64, 2, 4, 4, 16, 176),
  '300k': (96, 3, 4, 4, 24, 256),
  '1m': (128, 5, 4, 4, 32, 344),
  '3m': (256, 5, 4, 4, 64, 512),
  '10m': (384, 6, 6, 6, 64, 1024),
  '30m': (512, 10, 8, 8, 64, 1360),
  '100m': (768, 14, 12, 12, 64, 2048),
  '300m': (1024, 24, 16, 16, 64, 2688),
  '1b': (2048, 24, 16, 4, 128, 5120),
}

# How many times the rows of the smallest models' updates. Larger models learn from larger batches
# at no loss (McCandlish et al. 2018), and fill their devices by them.
BATCH = {
  **dict.fromkeys(('3k', '10k', '30k', '60k', '100k', '300k'), 1),
  '1m': 2,
  '3m': 4,
  '10m': 8,
  '30m': 16,
  '100m': 16,
  '300m': 32,
  '1b': 64,
}


def size(name: str) -> dict:
  """The ModelConfig fields of a named size.

  Raises:
    UserError: there is no such size.
  """
  if name not in SIZES:
    raise UserError(f'model size {name!r}: must be one of {", ".join(SIZES)}')
  width, layers, heads, kv_heads, head_dim, mlp_width = SIZES[name]
  return dict(
    width=width,
    layers=layers,
    heads=heads,
    kv_heads=kv_heads,
    head_dim=head_dim,
    mlp_width=mlp_width,
    tied_embeddings=False,
    shared_layers=1,
    rope_theta=10_000.0,
    compute_dtype='float32',
    base_width=0,
  )


def _layer_matrices(model: ModelConfig) -> int:
  """Parameters of one layer's matrices."""
  # Queries and the output are as wide as all heads, keys and values as the key-value heads.
  columns = (2 * model.heads + 2 * model.kv_heads) * model.head_dim
  return model.width * columns + 3 * model.width * model.mlp_width


def parameter_count(model: ModelConfig, vocabulary: int) -> int:
  """All parameters that are stored: shared layers and tied embeddings once."""
  stored_layers = model.layers // model.shared_layers
  tables = (1 if model.tied_embeddings else 2) * vocabulary * model.width
  return stored_layers * (_layer_matrices(model) + 2 * model.width) + model.width + tables


def non_embedding_parameters(model: ModelConfig) -> int:
  """Parameters without the embedding and the output head: the N of scaling laws."""
  return parameter_count(model, 0)


def matmul_parameters(model: ModelConfig, vocabulary: int) -> int:
  """Parameters that multiply a token: shared layers at each use, the head, no embedding look-up."""
  return model.layers * _layer_matrices(model) + vocabulary * model.width


def flops_per_token(model: ModelConfig, vocabulary: int, context: int) -> float:
  """FLOPs of training on one token at a context length (Chowdhery et al. 2022, PaLM, appendix B).

  Forward and backward; attention counts the full context, not half of it for causality.
  """
  attention = 12 * model.layers * model.heads * model.head_dim * context
  return 6.0 * matmul_parameters(model, vocabulary) + attention
