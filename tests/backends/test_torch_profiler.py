from __future__ import annotations

from types import SimpleNamespace

import pytest

pytest.importorskip("torch")

from harness.backends.torch import profiler

NODE = "autograd::engine::evaluate_function: "


@pytest.mark.parametrize(
    ("names", "operation"),
    [
        (("aten::mkldnn_convolution", "aten::_convolution", "aten::conv2d"), "convolution"),
        (("aten::convolution_backward", "ConvolutionBackward0"), "convolution"),
        (("aten::cudnn_convolution", "aten::conv2d"), "convolution"),
        # What an operator calls belongs to it,
        (("aten::empty", "aten::resize_", "aten::mkldnn_convolution"), "convolution"),
        (("aten::copy_", "aten::addmm", "aten::linear"), "matrix product"),
        (("aten::sum", f"{NODE}AddmmBackward0"), "matrix product"),
        # unless that is an operation of its own.
        (("aten::copy_", "aten::clone", "aten::contiguous", "aten::conv2d"), "layout"),
        (("aten::mm", "MmBackward0"), "matrix product"),
        (("mkldnn::_linear_pointwise",), "matrix product"),
        (("aten::cat",), "layout"),
        (("aten::native_batch_norm", "aten::batch_norm"), "normalisation"),
        (("aten::native_batch_norm_backward", "NativeBatchNormBackward0"), "normalisation"),
        (("aten::avg_pool2d",), "pooling"),
        (("aten::max_pool2d_with_indices_backward", "MaxPool2DWithIndicesBackward0"), "pooling"),
        (("harness::max_pool2x2",), "pooling"),
        (("aten::mean",), "pooling"),
        (("aten::tanh",), "activation"),
        (("aten::relu_",), "activation"),
        (("aten::threshold_backward", "ReluBackward0"), "activation"),
        (("aten::_log_softmax", "aten::log_softmax", "aten::cross_entropy_loss"), "loss"),
        (("aten::binary_cross_entropy_with_logits",), "loss"),
        (("aten::_fused_sgd_", "Optimizer.step#SGD.step"), "optimiser"),
        (("aten::detach", "Optimizer.zero_grad#SGD.zero_grad"), "optimiser"),
        (("aten::index", "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__"), "data"),
        (("aten::copy_", "aten::_to_copy", "aten::to"), "data"),
        (("aten::div_",), "data"),
        (("aten::add", "AddBackward0"), "other"),
        (("aten::ones_like",), "other"),
        # Kernels of the compiler,
        (("graph_0_cpp_fused_tanh_3", "CompiledFunction"), "activation"),
        (("cpp_fused_sum_tanh_backward_1",), "activation"),
        (("graph_0_cpp_fused__to_copy_div_sub_0",), "data"),
        (("graph_1_cpp_fused__log_softmax_nll_loss_forward_5",), "loss"),
        (("triton_poi_fused_relu_2",), "activation"),
        # and those that do two things at once.
        (("graph_0_cpp_fused_avg_pool2d_tanh_1",), "other"),
        (
            ("aten::convolution", "## Call CompiledFxGraph f27 ##", "CompiledFunction"),
            "convolution",
        ),
    ],
)
def test_names(names, operation):
    assert profiler.operation_of(names) == operation


def event(name, own, parent=None, thread=1):
    return SimpleNamespace(
        name=name,
        self_cpu_time_total=own,
        self_device_time_total=own / 2,
        cpu_parent=parent,
        thread=thread,
    )


def test_times_add_up_to_the_whole():
    step = event("Optimizer.step#SGD.step", 1e5)
    events = [
        step,
        event("aten::_fused_sgd_", 2e5, step),
        event("aten::conv2d", 4e5),
        event("aten::tanh", 1e5, thread=2),  # another thread's time is no time of the epoch
    ]
    found = profiler.divide(events, 1.0)
    assert found == pytest.approx({"optimiser": 0.3, "convolution": 0.4, "other": 0.3})
    on_gpu = profiler.divide(events, 1.0, on_gpu=True)
    assert on_gpu == pytest.approx(
        {"optimiser": 0.15, "convolution": 0.2, "activation": 0.05, "other": 0.6}
    )
