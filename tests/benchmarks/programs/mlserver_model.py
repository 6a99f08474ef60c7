"""A runtime of MLServer's for ONNX, as its documentation writes one. Runs in the peer's own environment."""

from mlserver import MLModel
from mlserver.codecs import NumpyCodec
from mlserver.types import InferenceRequest, InferenceResponse
from session import open_session, predict


class Breast(MLModel):
    """The same model as every other server here."""

    async def load(self) -> bool:
        """Open the model."""
        self.session = open_session()
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer an Open Inference Protocol request."""
        labels, probabilities = predict(self.session, NumpyCodec.decode_input(payload.inputs[0]))
        outputs = [NumpyCodec.encode_output("label", labels), NumpyCodec.encode_output("probabilities", probabilities)]
        return InferenceResponse(model_name=self.name, model_version=self.version, outputs=outputs)
