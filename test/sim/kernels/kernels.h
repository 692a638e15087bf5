// kernels.h - host entry points of the kernels (all pointers are device pointers).
#pragma once

#include <cuda_bf16.h>
#include <cuda_runtime_api.h>

using bf16 = __nv_bfloat16;

// y = (x - mean) * rstd * weight + bias for each row of x [rows][cols]; cols is a multiple of 8.
void layernorm_forward(bf16* y, float* mean, float* rstd, const bf16* x, const bf16* weight, const bf16* bias, int rows, int cols,
                       cudaStream_t stream = nullptr);

// c [m][n] = a [m][k] * b [n][k]^T; k is a multiple of 8.
void matmul_tn(float* c, const bf16* a, const bf16* b, int m, int n, int k, cudaStream_t stream = nullptr);

// Causal attention with head dimension 64; q, k, v, out are [heads][t][64], lse is [heads][t].
void attention_forward(bf16* out, float* lse, const bf16* q, const bf16* k, const bf16* v, int heads, int t, float scale,
                       cudaStream_t stream = nullptr);

// Hopper version of matmul_tn with bf16 output; n and k are multiples of 8.
void matmul_tn_sm90(bf16* c, const bf16* a, const bf16* b, int m, int n, int k, cudaStream_t stream = nullptr);

// The same with b [k][n] (not transposed).
void matmul_nn_sm90(bf16* c, const bf16* a, const bf16* b, int m, int n, int k, cudaStream_t stream = nullptr);
