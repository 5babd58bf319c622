"""The looks of gradio's own controls; style.css has those of our parts."""

from __future__ import annotations

import gradio as gr

THEME = gr.themes.Base(
    primary_hue="teal",
    secondary_hue="teal",
    neutral_hue="slate",
    font=(gr.themes.LocalFont("IBM Plex Sans", weights=(400, 700)), "ui-sans-serif", "system-ui", "sans-serif"),
).set(
    body_text_color_subdued="*neutral_600",
    body_text_color_subdued_dark="*neutral_400",
    body_background_fill="*neutral_50",
    body_background_fill_dark="#0e1419",
    block_background_fill="white",
    block_background_fill_dark="#161e25",
    background_fill_primary_dark="#161e25",
    background_fill_secondary_dark="#11181e",
    input_background_fill="white",
    input_background_fill_dark="#11181e",
    input_placeholder_color="*neutral_500",
    input_placeholder_color_dark="*neutral_400",
    border_color_primary="*neutral_200",
    border_color_primary_dark="#2a3640",
    block_border_color_dark="#2a3640",
    block_label_background_fill_dark="#161e25",
    block_label_text_color="*neutral_600",
    block_label_text_color_dark="*neutral_300",
    block_title_text_weight="600",
    block_info_text_color="*neutral_600",
    block_info_text_color_dark="*neutral_400",
    button_primary_background_fill="*primary_700",
    button_primary_background_fill_hover="*primary_800",
    button_primary_background_fill_dark="*primary_700",
    button_primary_background_fill_hover_dark="*primary_800",
    button_primary_text_color="white",
    link_text_color="*primary_700",
    link_text_color_dark="*primary_300",
    color_accent="*primary_700",
    slider_color="*primary_600",
)
