"""Small models of every family as transformers makes and saves them."""

import json

SHAPE = dict(
  hidden_size=32,
  num_hidden_layers=2,
  num_attention_heads=2,
  intermediate_size=48,
  image_size=32,
  patch_size=8,
)
TEXT = dict(
  hidden_size=32,
  num_hidden_layers=2,
  num_attention_heads=2,
  intermediate_size=48,
  vocab_size=50,
  max_position_embeddings=12,
  pad_token_id=1,
  bos_token_id=48,
  eos_token_id=49,
)
PREPROCESSOR = dict(
  image_processor_type='ViTImageProcessor',
  do_resize=True,
  size={'height': 32, 'width': 32},
  resample=2,
  do_rescale=True,
  rescale_factor=1 / 255,
  do_normalize=True,
  image_mean=[0.48, 0.46, 0.41],
  image_std=[0.27, 0.26, 0.28],
)


def _without(fields, *names):
  return {k: v for k, v in fields.items() if k not in names}


def build(name):
  """A randomly initialised model, every parameter moved off its default."""
  import torch
  import transformers as t

  torch.manual_seed(0)
  dino = _without(SHAPE, 'intermediate_size')
  naflex = _without(SHAPE, 'image_size') | {'num_patches': 16}
  clip = dict(vision_config=SHAPE, text_config=TEXT, projection_dim=24)
  siglip_text = TEXT | {'projection_size': 32}
  mae = SHAPE | dict(
    decoder_hidden_size=16,
    decoder_num_hidden_layers=1,
    decoder_num_attention_heads=2,
    decoder_intermediate_size=32,
  )
  build = {
    'vit': lambda: t.ViTModel(t.ViTConfig(**SHAPE)),
    'vit_classifier': lambda: t.ViTForImageClassification(t.ViTConfig(**SHAPE)),
    'clip': lambda: t.CLIPModel(t.CLIPConfig(**clip)),
    'clip_vision': lambda: t.CLIPVisionModel(t.CLIPVisionConfig(**SHAPE)),
    'clip_vision_projected': lambda: t.CLIPVisionModelWithProjection(
      t.CLIPVisionConfig(**SHAPE, projection_dim=24)
    ),
    'clip_text': lambda: t.CLIPTextModelWithProjection(
      t.CLIPTextConfig(**TEXT, projection_dim=24)
    ),
    'dinov2': lambda: t.Dinov2Model(t.Dinov2Config(**dino)),
    'dinov2_swiglu': lambda: t.Dinov2Model(
      t.Dinov2Config(**dino, use_swiglu_ffn=True)
    ),
    'dinov2_with_registers': lambda: t.Dinov2WithRegistersModel(
      t.Dinov2WithRegistersConfig(**dino)
    ),
    'siglip': lambda: t.SiglipModel(
      t.SiglipConfig(vision_config=SHAPE, text_config=siglip_text)
    ),
    'siglip_vision': lambda: t.SiglipVisionModel(t.SiglipVisionConfig(**SHAPE)),
    'siglip_text': lambda: t.SiglipTextModel(t.SiglipTextConfig(**siglip_text)),
    'siglip2': lambda: t.Siglip2Model(
      t.Siglip2Config(vision_config=naflex, text_config=siglip_text)
    ),
    'vit_mae': lambda: t.ViTMAEForPreTraining(t.ViTMAEConfig(**mae)),
    'vit_mae_encoder': lambda: t.ViTMAEModel(t.ViTMAEConfig(**SHAPE)),
  }
  model = build[name]().eval()
  with torch.no_grad():
    for parameter in model.parameters():
      parameter.add_(0.05 * torch.randn_like(parameter))
  return model


def save(model, folder, **settings):
  """Writes it as published models are, with a preprocessor_config.json."""
  model.save_pretrained(folder, **settings)
  text = json.dumps(PREPROCESSOR)
  (folder / 'preprocessor_config.json').write_text(text)
  return folder
