"""Every test runs on eight simulated CPU devices; what one test compiles, the next one need not."""

import os
import tempfile

os.environ['JAX_PLATFORMS'] = 'cpu'

import jax

_cache = tempfile.TemporaryDirectory(prefix='whyjax-tests-')
jax.config.update('jax_num_cpu_devices', 8)
jax.config.update('jax_compilation_cache_dir', _cache.name)
jax.config.update('jax_persistent_cache_min_compile_time_secs', 0.1)
