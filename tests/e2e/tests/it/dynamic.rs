//! Calls of any method by its descriptor, with messages made from the descriptor.

use diwan_proto::DESCRIPTORS;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MethodDescriptor, Value,
    bytes::{Buf as _, BufMut as _},
    prost::Message as _,
};
use tonic::{
    Request, Status,
    client::Grpc,
    codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder},
    codegen::http::uri::PathAndQuery,
    transport::Channel,
};

/// Every method of Diwan's own services.
pub fn methods() -> Vec<MethodDescriptor> {
    let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
    let services: Vec<_> = pool.services().collect();
    services.iter().flat_map(|service| service.methods().collect::<Vec<_>>()).collect()
}

pub fn path(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

/// Calls a method; the first answer of a stream counts.
pub async fn call(
    channel: &Channel,
    method: &MethodDescriptor,
    header: Option<(&'static str, &str)>,
    message: DynamicMessage,
) -> Result<DynamicMessage, Status> {
    let mut grpc = Grpc::new(channel.clone());
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    let mut request = Request::new(message);
    if let Some((name, value)) = header {
        request.metadata_mut().insert(name, value.parse().unwrap());
    }
    let path = PathAndQuery::try_from(path(method)).unwrap();
    let codec = Dynamic(method.clone());
    if method.is_server_streaming() {
        let mut stream = grpc.server_streaming(request, path, codec).await?.into_inner();
        return stream.message().await?.ok_or_else(|| Status::unknown("the stream ended without an answer"));
    }
    Ok(grpc.unary(request, path, codec).await?.into_inner())
}

/// A message whose leaves `fill` decides by their path, e.g. `team.name`; a leaf for which it says `None` stays unset.
pub fn message(
    descriptor: &prost_reflect::MessageDescriptor,
    prefix: &str,
    fill: &mut dyn FnMut(&str, &FieldDescriptor) -> Option<Value>,
) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let path = format!("{prefix}{}", field.name());
        let value = match (fill(&path, &field), field.kind()) {
            (Some(value), _) => value,
            (None, Kind::Message(inner)) if inner.full_name().starts_with("diwan.") && !field.is_list() => {
                Value::Message(self::message(&inner, &format!("{path}."), fill))
            }
            (None, _) => continue,
        };
        let value = if field.is_list() && value.as_list().is_none() { Value::List(vec![value]) } else { value };
        message.set_field(&field, value);
    }
    message
}

/// Something that no field of this kind can be.
pub fn bad(field: &FieldDescriptor) -> Option<Value> {
    match field.kind() {
        Kind::String => Some(Value::String("\u{1}".into())),
        Kind::Int32 => Some(Value::I32(-1)),
        Kind::Enum(_) => Some(Value::EnumNumber(99)),
        Kind::Message(inner) if inner.full_name() == "google.protobuf.FieldMask" => {
            let mut mask = DynamicMessage::new(inner);
            mask.set_field_by_name("paths", Value::List(vec![Value::String("no_such_field".into())]));
            Some(Value::Message(mask))
        }
        _ => None,
    }
}

/// A message as it is on the wire.
#[derive(Clone, Debug)]
pub struct Raw(pub Vec<u8>);

/// Sends and takes messages as they are on the wire.
pub struct RawCodec;

impl Codec for RawCodec {
    type Encode = Raw;
    type Decode = Raw;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for RawCodec {
    type Item = Raw;
    type Error = Status;

    fn encode(&mut self, message: Raw, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        buffer.put_slice(&message.0);
        Ok(())
    }
}

impl Decoder for RawCodec {
    type Item = Raw;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Raw>, Status> {
        Ok(Some(Raw(buffer.copy_to_bytes(buffer.remaining()).to_vec())))
    }
}

struct Dynamic(MethodDescriptor);

impl Codec for Dynamic {
    type Encode = DynamicMessage;
    type Decode = DynamicMessage;
    type Encoder = Bytes;
    type Decoder = Answer;

    fn encoder(&mut self) -> Bytes {
        Bytes
    }

    fn decoder(&mut self) -> Answer {
        Answer(self.0.clone())
    }
}

struct Bytes;

impl Encoder for Bytes {
    type Item = DynamicMessage;
    type Error = Status;

    fn encode(&mut self, message: DynamicMessage, buffer: &mut EncodeBuf<'_>) -> Result<(), Status> {
        message.encode(buffer).map_err(|error| Status::internal(error.to_string()))
    }
}

struct Answer(MethodDescriptor);

impl Decoder for Answer {
    type Item = DynamicMessage;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<DynamicMessage>, Status> {
        let decoded = DynamicMessage::decode(self.0.output(), buffer);
        decoded.map(Some).map_err(|error| Status::internal(error.to_string()))
    }
}
