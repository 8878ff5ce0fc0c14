"""Every test runs on eight simulated CPU devices; what one test compiles, the next one need not."""

import os
import tempfile

os.environ['JAX_PLATFORMS'] = 'cpu'
# Tests compile more than they compute. XLA may make loops by MLIR or as it did before, which takes
# half of the time; and LLVM may optimise nothing, which takes a fifth.
os.environ['XLA_FLAGS'] = ' '.join(
  [
    os.environ.get('XLA_FLAGS', ''),
    '--xla_cpu_use_fusion_emitters=false',
    '--xla_backend_optimization_level=0',
  ]
)
if 'JAX_COMPILATION_CACHE_DIR' not in os.environ:  # one for all workers, and for what they start
  _cache = tempfile.TemporaryDirectory(prefix='whyjax-tests-')
  os.environ['JAX_COMPILATION_CACHE_DIR'] = _cache.name
  os.environ['JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS'] = '0.1'

import jax

jax.config.update('jax_num_cpu_devices', 8)
