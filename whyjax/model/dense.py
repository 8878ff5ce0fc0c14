"""A matrix product whose gradient is written out, because the order of its operands costs time."""

import functools

import jax
import jax.numpy as jnp


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def dense(x: jax.Array, w_DxN: jax.Array, result: jnp.dtype | None = None) -> jax.Array:
  """x [..., D] times w, [..., N], of the type `result` (that of x if None).

  The gradient of w sums over tokens, the first axes of both of its operands, and XLA on CPU copies
  the left one into transposed order first. Autodiff always puts the gradient of the result there;
  here the narrower of the two stands there (docs/experiments.md, 2026-11-26: 10 to 18%).
  """
  return jnp.matmul(x, w_DxN, preferred_element_type=result)


def _forward(x, w_DxN, result):
  return dense(x, w_DxN, result), (x, w_DxN)


def _backward(result, kept, dy):
  x, w_DxN = kept
  tokens = tuple(range(x.ndim - 1))
  over_tokens = ((tokens, tokens), ((), ()))
  D, N = w_DxN.shape
  if D <= N:
    dw_DxN = jax.lax.dot_general(x, dy, over_tokens, preferred_element_type=result)
  else:
    dw_DxN = jax.lax.dot_general(dy, x, over_tokens, preferred_element_type=result).T
  dx = jnp.matmul(dy, w_DxN.T, preferred_element_type=result)
  return dx.astype(x.dtype), dw_DxN.astype(w_DxN.dtype)


dense.defvjp(_forward, _backward)
